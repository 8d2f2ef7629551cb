#include "quantize/observers/moments.h"

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

TEST(Moments, AreTheDirectOnesOfEachGroup) {
  for (const auto& groups : {ColumnGroups::tensor(), ColumnGroups::blocks(620, 31)}) {
    const testing::Batch batch = testing::random_batch(33, 620, 4);
    const auto observer = testing::observed("moments", batch, groups);
    const auto means = testing::values_named(*observer, "mean");
    const auto seconds = testing::values_named(*observer, "second_moment");
    ASSERT_EQ(means.size(), static_cast<std::size_t>(groups.count));
    for (std::int64_t g = 0; g < groups.count; ++g) {
      double sum = 0.0, squares = 0.0, count = 0.0;
      for (std::int64_t i = 0; i < batch.rows * batch.columns; ++i) {
        if (groups.group(i % batch.columns) != g) continue;
        const double x = batch.values[static_cast<std::size_t>(i)];
        sum += x;
        squares += x * x;
        count += 1.0;
      }
      EXPECT_FLOAT_EQ(means[static_cast<std::size_t>(g)], static_cast<float>(sum / count));
      EXPECT_FLOAT_EQ(seconds[static_cast<std::size_t>(g)], static_cast<float>(squares / count));
    }
    EXPECT_TRUE(observer->ranges().empty());
  }
}

TEST(Moments, DoNotOverflowInTheirSums) {
  const float huge = 1e19f;  // its square is near the largest float32
  const testing::Batch batch{3, 1, {huge, huge, -huge}};
  const auto observer = testing::observed("moments", batch);
  EXPECT_FLOAT_EQ(testing::values_named(*observer, "second_moment")[0], 1e38f);
  EXPECT_FLOAT_EQ(testing::values_named(*observer, "mean")[0], huge / 3);
}

}  // namespace
}  // namespace aquatint
