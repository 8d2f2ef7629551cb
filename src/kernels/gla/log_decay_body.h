// Internal to kernels/gla: the gate's log decay and its exponential, for AVX2 and AVX-512 (V = a
// Vec of kernels/simd_*.h).
#pragma once

#include <stdint.h>

#include "kernels/gla/gla_kernels.h"
#include "kernels/simd_lanes.h"
#include "kernels/simd_math.h"

namespace aquatint::kernels::gla {

// The second operand of V::min and V::max wins when either is NaN, so that x's NaN stays.
template <typename V>
typename V::Reg log_decay_of(typename V::Reg x, typename V::Reg normalizer,
                             typename V::Reg lowest) {
  const auto minus_abs = V::min(V::sub(V::zero(), x), x);
  const auto softplus = vector_log1p_unit<V>(vector_exp<V>(minus_abs));
  return V::max(lowest, V::div(V::sub(V::min(V::zero(), x), softplus), normalizer));
}

template <typename V>
void log_decay_simd(float* r, int64_t n, const LogDecayParams& params) noexcept {
  const auto normalizer = V::set(params.normalizer);
  const auto lowest = V::set(params.lowest);
  for (int64_t i = 0; i < n; i += V::kWidth) {
    const auto decay = log_decay_of<V>(load_upto<V>(r + i, n - i), normalizer, lowest);
    store_upto<V>(r + i, decay, n - i);
  }
}

// out[i] = exp(g[i]) for i < n, one for the rest of the last vector.
template <typename V>
void exp_row(const float* g, int64_t n, float* out) noexcept {
  for (int64_t i = 0; i < n; i += V::kWidth) {
    V::store(out + i, vector_exp<V>(load_upto<V>(g + i, n - i)));
  }
}

}  // namespace aquatint::kernels::gla
