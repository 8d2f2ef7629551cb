// Products for groups that cross the fragments of the fast forms (group sizes that are no multiple
// of 32, or of 64 with 8 bits): one warp per element of y, eight columns at a time.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

#include "device/cuda_launch.h"
#include "kernels/cuda_overlap.cuh"
#include "kernels/quant_matmul/cuda_args.h"
#include "kernels/quant_matmul/cuda_values.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kGenericWarps = 8;

__global__ void generic_product(const __grid_constant__ QuantMatmulCudaArgs a, int product) {
  cuda::begin_work();
  const QuantProductCuda& of = a.products[product];
  const QuantWeightsCuda& w = of.w;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t n = static_cast<int64_t>(blockIdx.y) * kGenericWarps + threadIdx.x / 32;
  const int64_t m = blockIdx.x;
  if (n >= w.outputs) return;
  float sum = 0;
  for (int64_t chunk = lane; chunk * 8 < w.columns; chunk += 32) {
    const Group group = load_group(w, n, chunk * 8);
    int q[8];
    load_values(w, n, chunk, q);
    float dot = 0;
    int exact = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int64_t k = chunk * 8 + i;
      if (k >= w.columns) continue;
      if (a.x8 != nullptr) {
        exact += (q[i] - group.zero) * a.x8[m * a.ldx + k];
      } else {
        const uint32_t bits = static_cast<uint32_t>(a.x16[m * a.ldx + k]) << 16;
        dot += static_cast<float>(q[i] - group.zero) * __uint_as_float(bits);
      }
    }
    sum += (a.x8 != nullptr ? static_cast<float>(exact) : dot) * group.scale;
  }
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
  if (lane != 0) return;
  const float scale = a.x8 != nullptr ? a.x_scales[m] : 1.0f;
  float* y = of.y + m * of.ldy + n;
  *y =
      __fmaf_rn(sum, scale, (of.bias != nullptr ? of.bias[n] : 0.0f) + (of.accumulate ? *y : 0.0f));
}

inline cudaError_t start_generic(const QuantMatmulCudaArgs& a, const CudaLaunch& launch) {
  if (a.source.x != nullptr || a.products[0].w.bits == 16) return cudaErrorInvalidValue;
  for (int i = 0; i < a.count; ++i) {
    const int64_t outputs = a.products[i].w.outputs;
    if (outputs == 0) continue;
    const dim3 grid(static_cast<unsigned>(a.rows),
                    static_cast<unsigned>((outputs + kGenericWarps - 1) / kGenericWarps));
    const cudaError_t error =
        cuda::launch_overlapped(launch, generic_product, grid, kGenericWarps * 32, 0, a, i);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace
}  // namespace aquatint::kernels
