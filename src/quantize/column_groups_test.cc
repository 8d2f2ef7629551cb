#include "quantize/column_groups.h"

#include <gtest/gtest.h>

#include "formats/test_support.h"

namespace aquatint {
namespace {

using Map = std::vector<std::int32_t>;

TEST(ColumnGroups, OneGroupHoldsAnyNumberOfColumns) {
  const ColumnGroups groups = ColumnGroups::tensor();
  EXPECT_EQ(groups.count, 1);
  EXPECT_EQ(groups.group(0), 0);
  EXPECT_EQ(groups.group(123456), 0);
  EXPECT_NO_THROW(groups.check());
}

TEST(ColumnGroups, ChannelsAreAlone) {
  const ColumnGroups groups = ColumnGroups::channels(3);
  EXPECT_EQ(groups.count, 3);
  EXPECT_EQ(groups.of_column, (Map{0, 1, 2}));
}

TEST(ColumnGroups, BlocksAreNeighbours) {
  const ColumnGroups groups = ColumnGroups::blocks(6, 2);
  EXPECT_EQ(groups.count, 2);
  EXPECT_EQ(groups.of_column, (Map{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(ColumnGroups::blocks(6, 6), ColumnGroups::channels(6));
}

TEST(ColumnGroups, AnyMapOfHeadsAndChannels) {
  // [heads 4, channels 2] in 2 groups of heads x 2 of channels, as Quamba2 cuts them.
  Map map;
  for (std::int32_t head = 0; head < 4; ++head) {
    for (std::int32_t channel = 0; channel < 2; ++channel) map.push_back(head / 2 * 2 + channel);
  }
  const ColumnGroups groups = ColumnGroups::map(map);
  EXPECT_EQ(groups.count, 4);
  EXPECT_EQ(groups.of_column, (Map{0, 1, 0, 1, 2, 3, 2, 3}));
}

TEST(ColumnGroups, RefusesWhatIsNoGrouping) {
  using testing::expect_error;
  const auto kind = ErrorKind::kInvalidArgument;
  expect_error(kind, "10 columns cannot be cut into 4", [] { ColumnGroups::blocks(10, 4); });
  expect_error(kind, "0 columns", [] { ColumnGroups::channels(0); });
  expect_error(kind, "4 columns cannot be cut into 0", [] { ColumnGroups::blocks(4, 0); });
  expect_error(kind, "no columns", [] { ColumnGroups::map({}); });
  expect_error(kind, "group 1 of 3 has no column", [] { ColumnGroups::map({0, 2, 2}); });
  expect_error(kind, "column 1 is in group -1", [] { ColumnGroups::map({0, -1}); });
  expect_error(kind, "column 1 is in group 4, of 2", [] { ColumnGroups{2, {0, 4}}.check(); });
  expect_error(kind, "there should be 2", [] { ColumnGroups{2, {}}.check(); });
}

}  // namespace
}  // namespace aquatint
