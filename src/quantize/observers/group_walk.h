// Hands every value of a batch to the accumulator of its column's group. Threads share nothing that
// depends on their number: one group is accumulated in parts that are merged, so an accumulator's
// merge() must be exact in any order (counts are); of several groups each belongs to one thread,
// which sees each column's values in order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "base/threads.h"
#include "quantize/column_groups.h"

namespace aquatint {

// Columns of the groups [begin, end), in order.
inline std::vector<std::int64_t> columns_of_groups(const ColumnGroups& groups, std::int64_t columns,
                                                   std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> found;
  for (std::int64_t c = 0; c < columns; ++c) {
    if (groups.group(c) >= begin && groups.group(c) < end) found.push_back(c);
  }
  return found;
}

// values [rows, columns]. Accumulator: add(float), merge(const Accumulator&), fresh() -> one like
// it that has seen nothing.
template <typename Accumulator>
void accumulate_groups(const float* values, std::int64_t rows, std::int64_t columns,
                       const ColumnGroups& groups, std::vector<Accumulator>& accumulators) {
  constexpr std::int64_t kGrain = std::int64_t{1} << 18;  // values that are worth a merge
  constexpr std::size_t kTile = 16;  // columns, whose accumulators stay in the cache
  if (groups.count == 1) {
    std::mutex mutex;
    parallel_for(rows * columns, kGrain, [&](std::int64_t begin, std::int64_t end) {
      if (begin == 0 && end == rows * columns) {
        for (std::int64_t i = begin; i < end; ++i) accumulators[0].add(values[i]);
        return;
      }
      Accumulator part = accumulators[0].fresh();
      for (std::int64_t i = begin; i < end; ++i) part.add(values[i]);
      const std::lock_guard lock(mutex);
      accumulators[0].merge(part);
    });
    return;
  }
  parallel_for(groups.count, 1, [&](std::int64_t begin, std::int64_t end) {
    const std::vector<std::int64_t> mine = columns_of_groups(groups, columns, begin, end);
    for (std::size_t tile = 0; tile < mine.size(); tile += kTile) {
      const std::span<const std::int64_t> some(mine.data() + tile,
                                               std::min(kTile, mine.size() - tile));
      for (std::int64_t r = 0; r < rows; ++r) {
        for (const std::int64_t c : some) {
          accumulators[static_cast<std::size_t>(groups.group(c))].add(values[r * columns + c]);
        }
      }
    }
  });
}

}  // namespace aquatint
