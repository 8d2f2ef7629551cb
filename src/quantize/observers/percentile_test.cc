#include "quantize/observers/percentile.h"

#include <algorithm>

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

ObserverOptions options_of(double percentile) {
  ObserverOptions options;
  options.name = "percentile";
  options.percentile = percentile;
  return options;
}

TEST(Percentile, IsTorchsQuantileOfEverythingSeen) {
  // torch 2.15: quantile(cat(batches).abs(), q).
  const std::pair<double, double> expected[] = {
      {0.9995, 2.96378803}, {0.99, 2.42275906}, {0.5, 0.346906692}};
  for (const auto& [share, value] : expected) {
    const auto observer = testing::observed(options_of(share), {}, testing::formula_batches());
    EXPECT_NEAR(observer->ranges()[0].max, value, value * 0x1p-12);
    EXPECT_EQ(observer->ranges()[0].min, -observer->ranges()[0].max);
  }
}

TEST(Percentile, OfAllIsTheAbsmax) {
  const auto batch = testing::random_batch(50, 8, 9);
  const auto observer = testing::observed(options_of(1.0), ColumnGroups::blocks(8, 4), {batch});
  const auto absmax = testing::observed("absmax", batch, ColumnGroups::blocks(8, 4));
  EXPECT_EQ(observer->ranges(), absmax->ranges());
  EXPECT_EQ(testing::values_named(*observer, "absmax"), testing::values_named(*absmax, "absmax"));
}

TEST(Percentile, KeepsGroupsApart) {
  const auto batch = testing::random_batch(400, 6, 10);
  const auto groups = ColumnGroups::map({1, 0, 1, 2, 0, 1});
  const auto ranges = testing::observed(options_of(0.9), groups, {batch})->ranges();
  for (std::int32_t g = 0; g < 3; ++g) {
    testing::Batch part{0, 1, {}};
    for (std::int64_t r = 0; r < batch.rows; ++r) {
      for (std::int64_t c = 0; c < 6; ++c) {
        if (groups.group(c) == g) part.values.push_back(batch.at(r, c));
      }
    }
    part.rows = static_cast<std::int64_t>(part.values.size());
    EXPECT_EQ(ranges[static_cast<std::size_t>(g)],
              testing::observed(options_of(0.9), {}, {part})->ranges()[0]);
  }
}

}  // namespace
}  // namespace aquatint
