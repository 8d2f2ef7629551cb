// The smallest and the largest value of each column, which min_max, moving_min_max, absmax and
// histogram start from. It runs at about the speed of memory, so it keeps columns apart and groups
// them only when asked.
#pragma once

#include <cstdint>
#include <vector>

#include "quantize/column_groups.h"
#include "quantize/observer.h"

namespace aquatint {

class ColumnExtremes {
 public:
  ColumnExtremes() = default;
  explicit ColumnExtremes(std::int64_t columns);

  // values [rows, columns]. Error kNumeric for NaN or infinity, with row and column.
  void add(const float* values, std::int64_t rows);
  // Exact, in any order.
  void absorb(const ColumnExtremes& other);
  // The extremes of each group; never -0. REQUIRES at least one row.
  std::vector<Range> ranges(const ColumnGroups& groups) const;

 private:
  std::vector<float> min_, max_;
};

// Their two ends as float32 tensors "min" and "max" [groups].
std::vector<std::pair<std::string, Tensor>> range_tensors(const std::vector<Range>& ranges);

}  // namespace aquatint
