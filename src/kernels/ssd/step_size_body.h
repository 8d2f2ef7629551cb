// Internal to kernels/ssd: step sizes and decays, for AVX2 and AVX-512 (V = a Vec of
// kernels/simd_*.h).
#pragma once

#include <stdint.h>

#include "kernels/simd_math.h"
#include "kernels/ssd/ssd_kernels.h"

namespace aquatint::kernels::ssd {
namespace {

// Any number of lanes left in a row: all of a vector's, or the first n.
template <typename V>
[[gnu::always_inline]] inline typename V::Reg load_upto(const float* p, int64_t n) {
  return n >= V::kWidth ? V::load(p) : V::load_first(p, n);
}
template <typename V>
[[gnu::always_inline]] inline void store_upto(float* p, typename V::Reg x, int64_t n) {
  if (n >= V::kWidth) {
    V::store(p, x);
  } else {
    V::store_first(p, x, n);
  }
}

// clamp(softplus(dt + bias)); the second operand of V::min and V::max wins when either is NaN.
template <typename V>
typename V::Reg step_size(const Task& task, typename V::Reg dt, typename V::Reg bias) {
  const auto delta = vector_softplus<V>(V::add(dt, bias));
  return V::min(V::set(task.dt_high), V::max(V::set(task.dt_low), delta));
}

template <typename V>
constexpr int64_t whole_vectors(int64_t n) {
  return (n + V::kWidth - 1) / V::kWidth * V::kWidth;
}

}  // namespace
}  // namespace aquatint::kernels::ssd
