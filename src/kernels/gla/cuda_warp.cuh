// Internal to kernels/gla: helpers of its CUDA kernels that need no instruction of their own.
#pragma once

#include "kernels/gla/cuda_common.cuh"

namespace aquatint::kernels {
namespace {

__device__ inline uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// A step of sum_over_warp: lanes whose number has the bit kMask keep the upper half of kHalf pairs.
template <int kHalf, int kMask, int kCount>
__device__ inline void halve_over_warp(float (&x)[kCount], int lane) {
  const bool upper = (lane & kMask) != 0;
#pragma unroll
  for (int i = 0; i < kHalf; ++i) {
    const float given = upper ? x[i] : x[i + kHalf];
    const float kept = upper ? x[i + kHalf] : x[i];
    x[i] = kept + shuffle_xor(given, kMask);
  }
  if constexpr (kHalf > 1) halve_over_warp<kHalf / 2, kMask / 2>(x, lane);
}

// Sums kCount (4, 8 or 16) numbers over the lanes of a warp with kCount shuffles or a few more,
// not 5 kCount: in each step a lane gives away half of its numbers. x[0] becomes the sum of number
// lane * kCount / 32.
template <int kCount>
__device__ inline void sum_over_warp(float (&x)[kCount], int lane) {
  halve_over_warp<kCount / 2, 16>(x, lane);
#pragma unroll
  for (int rest = 16 / kCount; rest >= 1; rest /= 2) x[0] += shuffle_xor(x[0], rest);
}

// Whether rows of dk floats, or of dv, start at multiples of 16 bytes in every array.
inline bool key_rows_aligned(const GlaCudaArgs& args) {
  return args.dk % 4 == 0 && cuda::aligned16(args.q) && cuda::aligned16(args.k) &&
         cuda::aligned16(args.g);
}
inline bool value_rows_aligned(const GlaCudaArgs& args) {
  bool aligned = args.dv % 4 == 0 && cuda::aligned16(args.v) && cuda::aligned16(args.o);
  for (int s = 0; s < args.count; ++s)
    aligned = aligned && cuda::aligned16(args.sequences[s].state);
  return aligned;
}

}  // namespace
}  // namespace aquatint::kernels
