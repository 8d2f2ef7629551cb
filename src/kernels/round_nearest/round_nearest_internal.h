// The two passes of round_nearest.h over some rows, which round_nearest.cc splits among threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/round_nearest/round_nearest.h"

namespace aquatint::kernels {

struct WeightRange {
  float min = 0, max = 0;  // contains zero

  void include(const WeightRange& other) {
    min = std::min(min, other.min);
    max = std::max(max, other.max);
  }
};

// Of rows [begin, end).
WeightRange range_of_rows(const RoundNearestTask& task, std::int64_t begin, std::int64_t end);

// Rounds rows [begin, end). `whole` is the range of all rows when they share a scale, else null.
void round_rows(const RoundNearestTask& task, const WeightRange* whole, std::int64_t begin,
                std::int64_t end);

}  // namespace aquatint::kernels
