#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "kernels/quantize_reference.h"
#include "kernels/quantize_rows/quantize_rows_variants.h"

namespace aquatint::kernels {

bool quantize_rows_int8_reference(const QuantizeRowsInt8Args& a, std::int64_t begin,
                                  std::int64_t end) noexcept {
  bool all_finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    const QuantizedRow row{a.group_size, a.groups, a.values + m * a.group_size * a.groups,
                           a.scales + m, a.group_sums + m * a.groups};
    all_finite = quantize_row_reference(a.x + m * a.columns, a.columns, row) && all_finite;
  }
  return all_finite;
}

bool quantize_rows_static_reference(const QuantizeRowsStaticArgs& a, std::int64_t begin,
                                    std::int64_t end) noexcept {
  const std::int64_t padded = a.group_size * a.groups;
  bool all_finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.columns;
    std::int32_t* sums = a.group_sums + m * a.groups;
    std::fill(sums, sums + a.groups, 0);
    for (std::int64_t k = 0; k < padded; ++k) {
      int q = 0;
      if (k < a.columns && std::isfinite(x[k])) {
        const float scaled = std::clamp(x[k] * a.factor, -kStaticLimit, kStaticLimit);
        q = std::clamp(static_cast<int>(std::rint(scaled)) + a.zero_point, -128, 127);
      }
      all_finite = all_finite && (k >= a.columns || std::isfinite(x[k]));
      a.values[m * padded + k] = static_cast<std::int8_t>(q);
      sums[k / a.group_size] += q;
    }
  }
  return all_finite;
}

bool round_rows_bf16_reference(const RoundRowsBf16Args& a, std::int64_t begin,
                               std::int64_t end) noexcept {
  constexpr std::int64_t kPlace[4] = {0, 2, 1, 3};
  const std::int64_t padded = a.group_size * a.groups;
  bool all_finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.columns;
    std::uint16_t* values = a.values + m * padded;
    float* sums = a.group_sums + m * a.groups;
    std::fill(sums, sums + a.groups, 0.0f);
    for (std::int64_t k = 0; k < padded; ++k) {
      const std::uint16_t rounded = k < a.columns ? f32_to_bf16(x[k]) : std::uint16_t{0};
      const float value = bf16_to_f32(rounded);
      all_finite = all_finite && std::isfinite(value);
      values[k / 4 * 4 + kPlace[k % 4]] = rounded;
      sums[k / a.group_size] += value;
    }
  }
  return all_finite;
}

}  // namespace aquatint::kernels
