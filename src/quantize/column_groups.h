// Which columns of a tensor share a statistic or a scale: all of them, each alone, equal blocks of
// neighbours (Quamba2's state groups), or any map (its blocks of heads x channels).
#pragma once

#include <cstdint>
#include <vector>

namespace aquatint {

struct ColumnGroups {
  std::int64_t count = 1;
  std::vector<std::int32_t> of_column;  // empty: all columns are in group 0

  std::int32_t group(std::int64_t column) const {
    return of_column.empty() ? 0 : of_column[static_cast<std::size_t>(column)];
  }

  // One group of all columns, however many there are.
  static ColumnGroups tensor() { return {}; }
  // Each of `columns` columns alone.
  static ColumnGroups channels(std::int64_t columns);
  // `count` groups of columns / count neighbours. Error kInvalidArgument where that leaves a rest.
  static ColumnGroups blocks(std::int64_t columns, std::int64_t count);
  // Any map; the groups are 0 to the largest named. Error kInvalidArgument for negative groups and
  // for groups without a column.
  static ColumnGroups map(std::vector<std::int32_t> of_column);

  // The error of map(), also where `count` is not the number of groups named.
  void check() const;
  bool operator==(const ColumnGroups&) const = default;
};

}  // namespace aquatint
