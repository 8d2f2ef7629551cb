#include "quantize/observers/min_max.h"

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

using testing::Batch;
using testing::observed;

std::vector<Range> direct(const Batch& batch, const ColumnGroups& groups) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<Range> ranges(static_cast<std::size_t>(groups.count), {infinity, -infinity});
  for (std::int64_t r = 0; r < batch.rows; ++r) {
    for (std::int64_t c = 0; c < batch.columns; ++c) {
      Range& range = ranges[static_cast<std::size_t>(groups.group(c))];
      range.min = std::min(range.min, batch.at(r, c));
      range.max = std::max(range.max, batch.at(r, c));
    }
  }
  return ranges;
}

TEST(MinMax, IsTheDirectOneForAnySizeAndGrouping) {
  unsigned seed = 0;
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 7, 64, 129}) {
    for (const std::int64_t columns : {1, 2, 6, 30, 126, 2058}) {
      const Batch batch = testing::random_batch(rows, columns, ++seed);
      std::vector<ColumnGroups> all = {ColumnGroups::tensor(), ColumnGroups::channels(columns)};
      if (columns % 6 == 0) all.push_back(ColumnGroups::blocks(columns, 6));
      for (const ColumnGroups& groups : all) {
        EXPECT_EQ(observed("min_max", batch, groups)->ranges(), direct(batch, groups))
            << rows << " x " << columns << ", " << groups.count << " groups";
      }
    }
  }
}

TEST(MinMax, GivesItsEndsAsTensorsAndKeepsZerosPositive) {
  const Batch batch{2, 3, {0.0f, -1.0f, 5.0f, -0.0f, 2.0f, 5.0f}};
  const auto observer = observed("min_max", batch, ColumnGroups::channels(3));
  EXPECT_EQ(testing::values_named(*observer, "min"), (std::vector<float>{0.0f, -1.0f, 5.0f}));
  EXPECT_EQ(testing::values_named(*observer, "max"), (std::vector<float>{0.0f, 2.0f, 5.0f}));
  EXPECT_FALSE(std::signbit(observer->ranges()[0].min));
}

}  // namespace
}  // namespace aquatint
