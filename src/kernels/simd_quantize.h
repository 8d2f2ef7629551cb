// The dynamic quantization of one row, for kernels that fuse it with what computes the row, written
// once over Q = Int8Vec and V = Vec. Its bits are those of kernels/quantize_rows.
#pragma once

#include <stdint.h>
#include <string.h>

#include "kernels/quantized_row.h"

namespace aquatint::kernels {
namespace {

constexpr uint32_t kInfinityBits = 0x7f800000U;

// What a row has beside its values: zeros behind them, and the sum of each group.
template <typename Q>
void finish_row(int64_t columns, const QuantizedRow& out) {
  memset(out.values + columns, 0, static_cast<size_t>(out.group_size * out.groups - columns));
  for (int64_t g = 0; g < out.groups; ++g) {
    out.group_sums[g] = Q::sum(out.values + g * out.group_size, out.group_size);
  }
}

// y [columns], whose largest magnitude has the bits `absmax_bits`. False, and zeros, if not finite.
template <typename V, typename Q>
bool quantize_row(const float* y, int64_t columns, uint32_t absmax_bits, const QuantizedRow& out) {
  const int64_t padded = out.group_size * out.groups;
  float absmax = 0;
  memcpy(&absmax, &absmax_bits, sizeof(absmax));
  const bool finite = absmax_bits < kInfinityBits;
  if (!finite || absmax < kSmallestRowAbsmax) {
    *out.scale = 0;
    memset(out.values, 0, static_cast<size_t>(padded));
    memset(out.group_sums, 0, static_cast<size_t>(out.groups) * sizeof(int32_t));
    return finite;
  }
  *out.scale = absmax / 127.0F;
  const auto factor = V::set(127.0F / absmax);
  int64_t k = 0;
  for (; k + V::kWidth <= columns; k += V::kWidth) {
    Q::store(out.values + k, V::mul(V::load(y + k), factor), -127, V::kWidth);
  }
  if (const int64_t rest = columns - k; rest > 0) {
    Q::store(out.values + k, V::mul(V::load_first(y + k, rest), factor), -127, rest);
  }
  finish_row<Q>(columns, out);
  return true;
}

// y [columns] on a given grid, as QuantizeRowsStaticArgs has it: cut to `limit` after scaling,
// which keeps it an integer of few bits when the zero point is added. `out.scale` is not touched.
template <typename V, typename Q>
void quantize_row_static(const float* y, int64_t columns, float factor, int32_t zero_point,
                         float limit, const QuantizedRow& out) {
  const auto scale = V::set(factor), most = V::set(limit), least = V::set(-limit);
  const auto zero = V::set(static_cast<float>(zero_point));
  const auto on_grid = [&](auto v) {
    return V::add(V::round(V::max(V::min(V::mul(v, scale), most), least)), zero);
  };
  int64_t k = 0;
  for (; k + V::kWidth <= columns; k += V::kWidth) {
    Q::store(out.values + k, on_grid(V::load(y + k)), -128, V::kWidth);
  }
  if (const int64_t rest = columns - k; rest > 0) {
    Q::store(out.values + k, on_grid(V::load_first(y + k, rest)), -128, rest);
  }
  finish_row<Q>(columns, out);
}

}  // namespace
}  // namespace aquatint::kernels
