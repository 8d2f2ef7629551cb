#include "quantize/column_groups.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"

namespace aquatint {

ColumnGroups ColumnGroups::channels(std::int64_t columns) {
  return blocks(columns, columns);
}

ColumnGroups ColumnGroups::blocks(std::int64_t columns, std::int64_t count) {
  if (columns < 1 || count < 1 || columns % count != 0 ||
      columns > std::numeric_limits<std::int32_t>::max()) {
    raise(ErrorKind::kInvalidArgument, "{} columns cannot be cut into {} equal groups", columns,
          count);
  }
  ColumnGroups groups;
  groups.count = count;
  groups.of_column.resize(static_cast<std::size_t>(columns));
  const std::int64_t width = columns / count;
  for (std::int64_t c = 0; c < columns; ++c) {
    groups.of_column[static_cast<std::size_t>(c)] = static_cast<std::int32_t>(c / width);
  }
  return groups;
}

ColumnGroups ColumnGroups::map(std::vector<std::int32_t> of_column) {
  if (of_column.empty()) raise(ErrorKind::kInvalidArgument, "a map of groups has no columns");
  ColumnGroups groups;
  groups.count = *std::max_element(of_column.begin(), of_column.end()) + std::int64_t{1};
  groups.of_column = std::move(of_column);
  groups.check();
  return groups;
}

void ColumnGroups::check() const {
  if (of_column.empty()) {
    if (count == 1) return;
    raise(ErrorKind::kInvalidArgument, "no column has a group, where there should be {}", count);
  }
  std::vector<bool> seen(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
  for (std::size_t c = 0; c < of_column.size(); ++c) {
    if (of_column[c] < 0 || of_column[c] >= count) {
      raise(ErrorKind::kInvalidArgument, "column {} is in group {}, of {} groups", c, of_column[c],
            count);
    }
    seen[static_cast<std::size_t>(of_column[c])] = true;
  }
  const auto missing = std::find(seen.begin(), seen.end(), false);
  if (missing != seen.end() || count < 1) {
    raise(ErrorKind::kInvalidArgument, "group {} of {} has no column", missing - seen.begin(),
          count);
  }
}

}  // namespace aquatint
