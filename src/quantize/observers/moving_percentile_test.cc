#include "quantize/observers/moving_percentile.h"

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

ObserverOptions options_of(double percentile, double averaging) {
  ObserverOptions options;
  options.name = "moving_percentile";
  options.percentile = percentile;
  options.averaging = averaging;
  return options;
}

TEST(MovingPercentile, IsQuambas) {
  // torch 2.15: w = quantile(first.abs(), q), then w += 0.01 (quantile - w).
  const std::pair<double, double> expected[] = {
      {0.9995, 1.1262889}, {0.99, 1.035732}, {0.5, 0.105448033}};
  for (const auto& [share, value] : expected) {
    const auto batches = testing::formula_batches();
    const auto observer = testing::observed(options_of(share, 0.01), {}, batches);
    EXPECT_NEAR(observer->ranges()[0].max, value, value * 1e-6);
    EXPECT_EQ(testing::values_named(*observer, "percentile")[0], observer->ranges()[0].max);
  }
}

TEST(MovingPercentile, InterpolatesWithinEachGroup) {
  // Magnitudes of column 0: 1 2 3 4, median 2.5; of column 1: 0 0 0 8, median 0.
  const testing::Batch batch{4, 2, {-4, 0, 1, 0, 3, -8, -2, 0}};
  const auto groups = ColumnGroups::channels(2);
  const auto ranges = testing::observed(options_of(0.5, 0.5), groups, {batch})->ranges();
  EXPECT_EQ(ranges[0], (Range{-2.5f, 2.5f}));
  EXPECT_EQ(ranges[1], (Range{0.0f, 0.0f}));
  const testing::Batch next{1, 2, {4.5, 1}};
  const auto moved = testing::observed(options_of(0.5, 0.5), groups, {batch, next})->ranges();
  EXPECT_EQ(moved[0].max, 3.5f);
  EXPECT_EQ(moved[1].max, 0.5f);
}

}  // namespace
}  // namespace aquatint
