#include "quantize/observers/moving_min_max.h"

#include "quantize/observers/moving_average.h"
#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

ObserverOptions options_of(double averaging) {
  ObserverOptions options;
  options.name = "moving_min_max";
  options.averaging = averaging;
  return options;
}

TEST(MovingMinMax, IsPyTorchs) {
  // torch 2.15, MovingAverageMinMaxObserver(averaging_constant=0.01).
  const auto observer = testing::observed(options_of(0.01), {}, testing::formula_batches());
  EXPECT_NEAR(observer->ranges()[0].min, -0.936783373, 1e-6);
  EXPECT_NEAR(observer->ranges()[0].max, 1.12090087, 1e-6);
}

TEST(MovingMinMax, FollowsTheFormulaInEachGroup) {
  const auto groups = ColumnGroups::blocks(4, 2);
  const std::vector<testing::Batch> batches = {{1, 4, {1, 2, -1, -2}}, {1, 4, {3, 4, 0, 8}}};
  const auto ranges = testing::observed(options_of(0.25), groups, batches)->ranges();
  EXPECT_EQ(ranges[0], (Range{1.5f, 2.5f}));
  EXPECT_EQ(ranges[1], (Range{-1.5f, 1.25f}));
}

TEST(MovingAverage, JoinsRunsAsIfOneByOne) {
  std::mt19937 generator(3);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  for (int run = 0; run < 200; ++run) {
    const double weight = run % 7 == 0 ? 1.0 : 0.01 + 0.5 * std::fabs(uniform(generator));
    MovingAverage all, first, second;
    for (auto i = generator() % 9; i > 0; --i) {
      const double value = uniform(generator);
      all.add(value, weight);
      first.add(value, weight);
    }
    for (auto i = generator() % 9; i > 0; --i) {
      const double value = uniform(generator);
      all.add(value, weight);
      second.add(value, weight);
    }
    first.absorb(second, weight);
    EXPECT_NEAR(first.value(), all.value(), 1e-14);
  }
}

}  // namespace
}  // namespace aquatint
