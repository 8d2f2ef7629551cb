// Internal to kernels/ssd: step sizes and decays, for AVX2 and AVX-512 (V = a Vec of
// kernels/simd_*.h).
#pragma once

#include <stdint.h>

#include "kernels/simd_lanes.h"
#include "kernels/simd_math.h"
#include "kernels/ssd/ssd_kernels.h"

namespace aquatint::kernels::ssd {
namespace {

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
