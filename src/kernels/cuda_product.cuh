// Reads values of a ProductView on a GPU.
#pragma once

#include "kernels/cuda_rows.cuh"
#include "kernels/product_view.h"

namespace aquatint::kernels::cuda {

__device__ inline float finish_sum(const ProductView& p, int64_t row, int64_t k, int sum) {
  if (p.w_zeros != nullptr) sum -= p.w_zeros[k] * p.x_sums[row];
  const float product = __fmul_rn(static_cast<float>(sum), p.w_scales[k]);
  return p.bias == nullptr ? __fmul_rn(product, p.x_scales[row])
                           : __fmaf_rn(product, p.x_scales[row], p.bias[k]);
}

__device__ inline float from_bf16(unsigned bits) { return __uint_as_float(bits << 16); }

__device__ inline Values<4> load_four_bf16(const uint16_t* p) {
  const uint2 four = *reinterpret_cast<const uint2*>(p);
  return {{from_bf16(four.x), __uint_as_float(four.x & 0xffff0000u), from_bf16(four.y),
           __uint_as_float(four.y & 0xffff0000u)}};
}

__device__ inline Values<4> load_four_sums(const ProductView& p, int64_t row, int64_t k) {
  const int4 four = *reinterpret_cast<const int4*>(p.sums + row * p.ld + k);
  return {{finish_sum(p, row, k, four.x), finish_sum(p, row, k + 1, four.y),
           finish_sum(p, row, k + 2, four.z), finish_sum(p, row, k + 3, four.w)}};
}

// V values of a row from column k on.
template <int V>
__device__ Values<V> load(const ProductView& p, int64_t row, int64_t k) {
  const int64_t at = row * p.ld + k;
  if (p.f32 != nullptr) return load<V>(p.f32 + at);
  if constexpr (V == 4) {
    return p.bf16 != nullptr ? load_four_bf16(p.bf16 + at) : load_four_sums(p, row, k);
  } else {
    return p.bf16 != nullptr ? Values<V>{{from_bf16(p.bf16[at])}}
                             : Values<V>{{finish_sum(p, row, k, p.sums[at])}};
  }
}

inline bool in_fours(const ProductView& p, int64_t columns) {
  return in_fours(columns, p.f32, p.bf16, p.sums) && p.ld % 4 == 0;
}

}  // namespace aquatint::kernels::cuda
