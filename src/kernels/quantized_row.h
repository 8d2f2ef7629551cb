// Where a kernel leaves a row that it quantizes to int8 with a scale of its own. Plain data,
// because files compiled for an instruction set include it.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

// Rows whose largest magnitude is below this become zero: 127 / absmax stays finite.
inline constexpr float kSmallestRowAbsmax = 1e-30F;

struct QuantizedRow {
  int64_t group_size, groups;
  int8_t* values;  // [group_size * groups]
  float* scale;
  int32_t* group_sums;  // [groups]
};

}  // namespace aquatint::kernels
