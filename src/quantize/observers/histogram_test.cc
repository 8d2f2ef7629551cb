#include "quantize/observers/histogram.h"

#include <numeric>

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

ObserverOptions options_of(std::int64_t bins, bool symmetric) {
  ObserverOptions options;
  options.name = "histogram";
  options.bins = bins;
  options.symmetric = symmetric;
  return options;
}

// torch 2.15, HistogramObserver(bins=64) after each of formula_batches(), and its last counts.
constexpr Range kTorch64[] = {
    {-0.899999976f, 1.06699717f}, {-2.999717f, 2.89311814f}, {-2.999717f, 2.89311814f}};
constexpr double kTorchCounts[] = {
    7,       6,      7,      7,       8,       20,      29,      28,      30,      32,      32,
    34,      37,     37,     40,      42,      47,      50,      54,      58,      66,      76,
    107.75,  148,    185.25, 269.25,  1979.25, 402.875, 254.875, 237.375, 271.125, 459.75,  1465.88,
    2061.12, 302.25, 208,    163.375, 137.375, 121.312, 107.875, 97.3125, 89.4375, 83.4375, 71.125,
    36,      33,     33,     31,      14,      11,      9,       10,      9,       9,       8,
    8,       7,      9,      7,       7,       7,       7,       6,       8};

TEST(Histogram, IsPyTorchsWhileItsRangeGrows) {
  auto observer = make_observer(options_of(64, false), {});
  const auto batches = testing::formula_batches();
  for (std::size_t b = 0; b < batches.size(); ++b) {
    observer->observe(batches[b].values.data(), batches[b].rows, 1);
    EXPECT_NEAR(observer->ranges()[0].min, kTorch64[b].min, 1e-6);
    EXPECT_NEAR(observer->ranges()[0].max, kTorch64[b].max, 1e-6);
  }
  const auto counts = testing::values_named(*observer, "counts");
  ASSERT_EQ(counts.size(), 64u);
  // PyTorch places the parts of old bins by float32 edges: one in 16 may fall on the other side.
  for (std::size_t i = 0; i < 64; ++i) EXPECT_NEAR(counts[i], kTorchCounts[i], 0.01) << i;
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0.0), 10240.0);
  const auto edges = testing::values_named(*observer, "edges");
  ASSERT_EQ(edges.size(), 65u);
  EXPECT_EQ(edges.front(), testing::values_named(*observer, "min")[0]);
  EXPECT_EQ(edges.back(), testing::values_named(*observer, "max")[0]);
}

TEST(Histogram, ClipsAsPyTorchDoes) {
  testing::Batch logistic{1 << 17, 1, {}}, heavy{1 << 17, 1, {}};
  for (std::uint64_t i = 0; i < std::uint64_t{1} << 17; ++i) {
    const double u = static_cast<std::uint32_t>(i * 2654435761u) / 4294967296.0;
    logistic.values.push_back(static_cast<float>(std::log((u + 1e-7) / (1.0 - u + 1e-7))));
    const double root = std::log(1.0 / (1e-7 + 1.0 - std::fabs(2.0 * u - 1.0)));
    heavy.values.push_back(static_cast<float>(std::copysign(root * root, u - 0.5)));
  }
  // torch 2.15; the values lie from -16.1 to 12.8 and from -260 to 147. Neighbouring bins' errors
  // differ by less than the rounding of its float32 sums, hence one bin of tolerance.
  const Range a = testing::observed(options_of(1024, false), {}, {logistic})->ranges()[0];
  EXPECT_NEAR(a.min, -11.2059765, 0.03);
  EXPECT_NEAR(a.max, 10.700943, 0.03);
  const Range b = testing::observed(options_of(256, false), {}, {heavy})->ranges()[0];
  EXPECT_NEAR(b.min, -110.50737, 1.6);
  EXPECT_NEAR(b.max, 129.302521, 1.6);
}

TEST(Histogram, SymmetricRangeIsBetterThanNoClipping) {
  auto batch = testing::random_batch(400, 64, 12);
  const Range range = testing::observed(options_of(1024, true), {}, {batch})->ranges()[0];
  const Range full = testing::observed("absmax", batch)->ranges()[0];
  EXPECT_EQ(range.min, -range.max);
  EXPECT_LE(range.max, full.max);
  const auto error = [&](float max) {
    double sum = 0.0;
    const double scale = max / 127.5;
    for (const float x : batch.values) {
      const double q = std::clamp(std::nearbyint(x / scale), -128.0, 127.0) * scale;
      sum += (x - q) * (x - q);
    }
    return sum;
  };
  EXPECT_LE(error(range.max), error(full.max) * 1.001);
}

TEST(Histogram, CountsOneBatchExactlyInEachGroup) {
  const auto batch = testing::random_batch(300, 6, 13, 0.5f);
  const auto groups = ColumnGroups::map({0, 1, 0, 1, 2, 2});
  const auto observer = testing::observed(options_of(50, true), groups, {batch});
  const auto counts = testing::values_named(*observer, "counts");
  const auto extremes = testing::observed("min_max", batch, groups)->ranges();
  std::vector<float> direct(150);
  for (std::int64_t i = 0; i < 1800; ++i) {
    const auto g = static_cast<std::size_t>(groups.group(i % 6));
    const double min = extremes[g].min, max = extremes[g].max;
    const double at = (batch.values[static_cast<std::size_t>(i)] - min) * (50 / (max - min));
    ++direct[g * 50 + std::min<std::size_t>(49, static_cast<std::size_t>(at))];
  }
  EXPECT_EQ(counts, direct);
}

TEST(Histogram, ConstantsAreOneBinUntilTheRangeGrows) {
  const testing::Batch constant{8, 1, std::vector<float>(8, 2.0f)};
  const testing::Batch more{2, 1, {0.0f, 4.0f}};
  const auto one = testing::observed(options_of(4, false), {}, {constant, constant});
  EXPECT_EQ(testing::values_named(*one, "counts"), (std::vector<float>{0, 0, 16, 0}));
  EXPECT_EQ(one->ranges()[0], (Range{2.0f, 2.0f}));
  EXPECT_EQ(testing::values_named(*one, "edges"), (std::vector<float>{1.5, 1.75, 2, 2.25, 2.5}));
  const auto grown = testing::observed(options_of(4, false), {}, {constant, more});
  EXPECT_EQ(testing::values_named(*grown, "counts"), (std::vector<float>{1, 0, 8, 1}));
}

TEST(Histogram, MergedCountsLieAtMostABinAway) {
  const auto a = testing::random_batch(500, 1, 14), b = testing::random_batch(500, 1, 15, 3.0f);
  const auto both = testing::observed(options_of(256, true), {}, {a, b});
  auto merged = testing::observed(options_of(256, true), {}, {a});
  merged->merge(*testing::observed(options_of(256, true), {}, {b}));
  EXPECT_EQ(testing::values_named(*both, "edges"), testing::values_named(*merged, "edges"));
  const auto x = testing::values_named(*both, "counts"),
             y = testing::values_named(*merged, "counts");
  double left = 0.0, right = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    // Cumulative counts differ by no more than what the bin and its neighbours hold.
    left += x[i];
    right += y[i];
    const double next = i + 1 < x.size() ? static_cast<double>(x[i + 1]) + y[i + 1] : 0.0;
    EXPECT_LE(std::fabs(left - right), x[i] + y[i] + next) << i;
  }
  EXPECT_EQ(left, 1000.0);
  EXPECT_EQ(right, 1000.0);
}

}  // namespace
}  // namespace aquatint
