// What holds of every observer of the registry; their own tests are beside them.
#include "quantize/observer.h"

#include <algorithm>

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

using testing::Batch;
using testing::expect_error;
using testing::observed;

constexpr std::int64_t kColumns = 24;

ObserverOptions options_of(const ObserverEntry& entry) {
  ObserverOptions options;
  options.name = entry.name;
  options.percentile = 0.98;
  options.averaging = 0.125;
  options.bins = 100;
  return options;
}

std::vector<ColumnGroups> groupings(const ObserverEntry& entry) {
  if (!entry.takes_groups) return {ColumnGroups::tensor()};
  return {ColumnGroups::tensor(), ColumnGroups::blocks(kColumns, 3),
          ColumnGroups::channels(kColumns)};
}

template <typename Body>
void for_all(const Body& body) {
  for (const ObserverEntry& entry : observer_registry()) {
    for (const ColumnGroups& groups : groupings(entry)) {
      SCOPED_TRACE(std::string(entry.name) + ", groups: " + std::to_string(groups.count));
      body(entry, groups);
    }
  }
}

class Threads {
 public:
  explicit Threads(int n) { set_num_threads(n); }
  ~Threads() { set_num_threads(0); }
};

TEST(Observers, GiveWhatTheirRowsSay) {
  const Batch batch = testing::random_batch(50, kColumns, 1);
  for_all([&](const ObserverEntry& entry, const ColumnGroups& groups) {
    const auto observer = observed(options_of(entry), groups, {batch});
    EXPECT_EQ(observer->rows(), 50);
    EXPECT_EQ(observer->ranges().size(),
              entry.makes_ranges ? static_cast<std::size_t>(groups.count) : 0u);
    for (const Range& range : observer->ranges()) EXPECT_LT(range.min, range.max);
    std::vector<std::string> names;
    for (const auto& [name, tensor] : observer->tensors()) names.push_back(name);
    EXPECT_EQ(names, entry.tensors);
  });
}

TEST(Observers, DoNotDependOnThreads) {
  // More values than a part of a parallel loop.
  const Batch batch = testing::random_batch(30000, kColumns, 2);
  for_all([&](const ObserverEntry& entry, const ColumnGroups& groups) {
    const auto one = [&] {
      const Threads threads(1);
      return observed(options_of(entry), groups, {batch, batch.slice(0, 100)});
    }();
    for (const int n : {2, 3, 7}) {
      const Threads threads(n);
      const auto many = observed(options_of(entry), groups, {batch, batch.slice(0, 100)});
      testing::expect_same(*one, *many, 0.0);
    }
  });
}

TEST(Observers, DoNotDependOnBatchesUnlessTheySaySo) {
  const Batch batch = testing::random_batch(1237, kColumns, 3);
  for_all([&](const ObserverEntry& entry, const ColumnGroups& groups) {
    const auto whole = observed(options_of(entry), groups, {batch});
    const auto cut = observed(options_of(entry), groups,
                              {batch.slice(0, 1), batch.slice(1, 6), batch.slice(6, 1100),
                               batch.slice(1100, 1100), batch.slice(1100, 1237)});
    if (!entry.per_batch) testing::expect_same(*whole, *cut, 0.0);
    EXPECT_EQ(whole->rows(), cut->rows());
  });
}

TEST(Observers, MergeInOrderToWhatObservingInOrderGives) {
  std::vector<Batch> batches;
  for (unsigned i = 0; i < 5; ++i) batches.push_back(testing::random_batch(70, kColumns, 40 + i));
  for_all([&](const ObserverEntry& entry, const ColumnGroups& groups) {
    const ObserverOptions options = options_of(entry);
    // Counts of a histogram may lie one bin away, see its own test.
    if (options.name == "histogram") return;
    const auto all = observed(options, groups, batches);
    auto first = observed(options, groups, {batches[0], batches[1]});
    const auto second = observed(options, groups, {batches[2], batches[3], batches[4]});
    auto empty = make_observer(options, groups);
    empty->merge(*first);
    testing::expect_same(*empty, *first, 0.0);
    first->merge(*make_observer(options, groups));
    testing::expect_same(*empty, *first, 0.0);
    first->merge(*second);
    const bool exact =
        options.name == "min_max" || options.name == "absmax" || options.name == "percentile";
    testing::expect_same(*first, *all, exact ? 0.0 : 1e-6);
  });
}

TEST(Observers, TakeZerosConstantsAndSingleRows) {
  Batch zeros{7, kColumns, std::vector<float>(7 * kColumns, 0.0f)};
  Batch constant{7, kColumns, std::vector<float>(7 * kColumns, -2.5f)};
  const Batch row = testing::random_batch(1, kColumns, 5);
  for_all([&](const ObserverEntry& entry, const ColumnGroups& groups) {
    for (const Range& range : observed(options_of(entry), groups, {zeros})->ranges()) {
      EXPECT_EQ(range, Range{});
      EXPECT_FALSE(std::signbit(range.min));
    }
    for (const Range& range : observed(options_of(entry), groups, {constant})->ranges()) {
      EXPECT_EQ(range.min, -2.5f);
      EXPECT_TRUE(range.max == -2.5f || range.max == 2.5f);
    }
    for (const auto& batches : {std::vector{row}, {zeros, row}, {constant, constant}}) {
      const auto observer = observed(options_of(entry), groups, batches);
      for (const auto& [name, tensor] : observer->tensors()) {
        for (std::int64_t i = 0; i < tensor.numel(); ++i) {
          EXPECT_TRUE(std::isfinite(tensor.data<float>()[i])) << name;
        }
      }
      for (const Range& range : observer->ranges()) EXPECT_LE(range.min, range.max);
    }
  });
}

TEST(Observers, RefuseWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  for_all([&](const ObserverEntry& entry, const ColumnGroups& groups) {
    for (const auto& [value, text] :
         {std::pair{std::nanf(""), "is NaN"}, {infinity, "is infinite"}, {-infinity, "is -inf"}}) {
      for (const std::int64_t row : {0, 3, 8}) {
        Batch batch = testing::random_batch(9, kColumns, 6);
        batch.values[static_cast<std::size_t>(row * kColumns + 17)] = value;
        expect_error(ErrorKind::kNumeric, text,
                     [&] { observed(options_of(entry), groups, {batch}); });
        expect_error(ErrorKind::kNumeric, fmt::format("row {}, column 17", row),
                     [&] { observed(options_of(entry), groups, {batch.slice(0, 9)}); });
      }
    }
  });
}

TEST(Observers, RefuseOptionsAndGroupsThatTheyDoNotTake) {
  const auto kind = ErrorKind::kInvalidArgument;
  const auto make = [](const std::string& name, auto change, const ColumnGroups& groups = {}) {
    ObserverOptions options;
    options.name = name;
    change(options);
    make_observer(options, groups);
  };
  const auto nothing = [](ObserverOptions&) {};
  expect_error(kind, "no observer is called 'minmax'", [&] { make("minmax", nothing); });
  expect_error(kind, "percentile: percentile is 1.5",
               [&] { make("percentile", [](auto& o) { o.percentile = 1.5; }); });
  expect_error(kind, "percentile is nan",
               [&] { make("moving_percentile", [](auto& o) { o.percentile = std::nan(""); }); });
  expect_error(kind, "averaging is 0",
               [&] { make("moving_min_max", [](auto& o) { o.averaging = 0.0; }); });
  expect_error(kind, "bins is 1", [&] { make("histogram", [](auto& o) { o.bins = 1; }); });
  expect_error(kind, "hessian observes all columns together, not 3 groups",
               [&] { make("hessian", nothing, ColumnGroups::channels(3)); });
  expect_error(kind, "group 1 of 2 has no column", [&] {
    make("min_max", nothing, ColumnGroups{2, {0, 0}});
  });
  EXPECT_NO_THROW(make("min_max", [](auto& o) { o.bins = 1; }));  // which it does not read
}

TEST(Observers, AreNamedOnce) {
  std::vector<std::string> names;
  for (const ObserverEntry& entry : observer_registry()) names.emplace_back(entry.name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
  const auto ranges = range_observer_names();
  EXPECT_NE(std::find(ranges.begin(), ranges.end(), "histogram"), ranges.end());
  EXPECT_EQ(std::find(ranges.begin(), ranges.end(), "hessian"), ranges.end());
}

}  // namespace
}  // namespace aquatint
