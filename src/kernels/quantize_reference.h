// The rule by which rows become int8, as plain loops: the specification of every kernel that
// quantizes rows, for their reference.cc files. Not for files compiled for an instruction set.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/quantized_row.h"

namespace aquatint::kernels {

// scale = absmax / 127, q = clamp(rint(y * (127 / absmax)), -127, 127), 0 past `columns`, and the
// sum of q in each group. A row that is not finite or nearly zero becomes 0. False if y [columns]
// is not finite.
inline bool quantize_row_reference(const float* y, std::int64_t columns, const QuantizedRow& out) {
  float absmax = 0;
  bool finite = true;
  for (std::int64_t k = 0; k < columns; ++k) {
    finite = finite && std::isfinite(y[k]);
    absmax = std::max(absmax, std::abs(y[k]));
  }
  const bool zero = !finite || absmax < kSmallestRowAbsmax;
  *out.scale = zero ? 0.0f : absmax / 127.0f;
  const float inverse = zero ? 0.0f : 127.0f / absmax;
  for (std::int64_t k = 0; k < out.group_size * out.groups; ++k) {
    const float q = k < columns && !zero ? std::rint(y[k] * inverse) : 0.0f;
    out.values[k] = static_cast<std::int8_t>(std::clamp(q, -127.0f, 127.0f));
  }
  for (std::int64_t g = 0; g < out.groups; ++g) {
    out.group_sums[g] = 0;
    for (std::int64_t k = 0; k < out.group_size; ++k) {
      out.group_sums[g] += out.values[g * out.group_size + k];
    }
  }
  return finite;
}

}  // namespace aquatint::kernels
