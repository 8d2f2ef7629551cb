#include "quantize/observers/absmax.h"

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

TEST(Absmax, IsTheDirectOneOfEachChannel) {
  const testing::Batch batch = testing::random_batch(37, 19, 5);
  const auto observer = testing::observed("absmax", batch, ColumnGroups::channels(19));
  const auto ranges = observer->ranges();
  const auto values = testing::values_named(*observer, "absmax");
  for (std::int64_t c = 0; c < 19; ++c) {
    float largest = 0.0f;
    for (std::int64_t r = 0; r < 37; ++r) largest = std::max(largest, std::fabs(batch.at(r, c)));
    const auto i = static_cast<std::size_t>(c);
    EXPECT_EQ(ranges[i], (Range{-largest, largest}));
    EXPECT_EQ(values[i], largest);
  }
}

TEST(Absmax, TakesTheLargerEndOfAGroup) {
  const testing::Batch batch{1, 4, {-3.0f, 2.0f, 0.0f, -0.0f}};
  const auto observer = testing::observed("absmax", batch, ColumnGroups::blocks(4, 2));
  EXPECT_EQ(testing::values_named(*observer, "absmax"), (std::vector<float>{3.0f, 0.0f}));
}

}  // namespace
}  // namespace aquatint
