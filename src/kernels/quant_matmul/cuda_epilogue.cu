// From the sums a library's product leaves to the product's result, for weights with one scale per
// output: int32 sums of int8 products, or float32 sums of products with the integers of the
// weights.
#include <cuda_runtime.h>

#include "device/cuda_launch.h"
#include "kernels/cuda_host.cuh"
#include "kernels/quant_matmul/cuda_args.h"

namespace aquatint::kernels {
namespace {

constexpr int kEpilogueThreads = 128;
constexpr int kEpilogueRows = 4;  // of a thread

// One element, in the order of operations of quant_matmul_a8.
__device__ __forceinline__ float finish(const QuantEpilogueCudaArgs& a, int64_t m, int64_t n,
                                        int int_sum, float float_sum, float y) {
  const float bias = (a.bias != nullptr ? a.bias[n] : 0.0f) + (a.accumulate ? y : 0.0f);
  const bool plain = a.bias == nullptr && !a.accumulate;
  if (a.int_sums == nullptr) {
    return plain ? __fmul_rn(float_sum, a.w.scales[n]) : __fmaf_rn(float_sum, a.w.scales[n], bias);
  }
  if (a.w.zeros != nullptr) int_sum -= a.w.zeros[n] * a.group_sums[m];
  const float product = __fmul_rn(static_cast<float>(int_sum), a.w.scales[n]);
  return plain ? __fmul_rn(product, a.x_scales[m]) : __fmaf_rn(product, a.x_scales[m], bias);
}

__global__ void epilogue(const __grid_constant__ QuantEpilogueCudaArgs a) {
  const int64_t m = blockIdx.x;
  const int64_t n = static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (n >= a.w.outputs) return;
  float* y = a.y + m * a.ldy + n;
  const int64_t at = m * a.ld_sums + n;
  const bool ints = a.int_sums != nullptr;
  *y = finish(a, m, n, ints ? a.int_sums[at] : 0, ints ? 0.0f : a.float_sums[at],
              a.accumulate ? *y : 0.0f);
}

// Four outputs of four rows a thread: loads of several rows are under way at once.
__global__ void epilogue_vectors(const __grid_constant__ QuantEpilogueCudaArgs a) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kEpilogueRows;
  const int64_t n = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * 4;
  if (n >= a.w.outputs) return;
  int4 ints[kEpilogueRows] = {};
  float4 floats[kEpilogueRows] = {}, before[kEpilogueRows] = {};
#pragma unroll
  for (int r = 0; r < kEpilogueRows; ++r) {
    if (first + r >= a.rows) continue;
    const int64_t at = (first + r) * a.ld_sums + n;
    if (a.int_sums != nullptr) {
      ints[r] = *reinterpret_cast<const int4*>(a.int_sums + at);
    } else {
      floats[r] = *reinterpret_cast<const float4*>(a.float_sums + at);
    }
    if (a.accumulate) before[r] = *reinterpret_cast<const float4*>(a.y + (first + r) * a.ldy + n);
  }
#pragma unroll
  for (int r = 0; r < kEpilogueRows; ++r) {
    const int64_t m = first + r;
    if (m >= a.rows) continue;
    float4 result;
    result.x = finish(a, m, n, ints[r].x, floats[r].x, before[r].x);
    result.y = finish(a, m, n + 1, ints[r].y, floats[r].y, before[r].y);
    result.z = finish(a, m, n + 2, ints[r].z, floats[r].z, before[r].z);
    result.w = finish(a, m, n + 3, ints[r].w, floats[r].w, before[r].w);
    *reinterpret_cast<float4*>(a.y + m * a.ldy + n) = result;
  }
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_quant_epilogue(const aquatint::kernels::QuantEpilogueCudaArgs* args,
                                            const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  const void* sums =
      args->int_sums != nullptr ? static_cast<const void*>(args->int_sums) : args->float_sums;
  const bool vectors = args->w.outputs % 4 == 0 && args->ld_sums % 4 == 0 && args->ldy % 4 == 0 &&
                       cuda::aligned16(sums) && cuda::aligned16(args->y);
  const int64_t threads = vectors ? args->w.outputs / 4 : args->w.outputs;
  const int64_t rows = vectors ? (args->rows + kEpilogueRows - 1) / kEpilogueRows : args->rows;
  const dim3 grid(static_cast<unsigned>(rows),
                  static_cast<unsigned>((threads + kEpilogueThreads - 1) / kEpilogueThreads));
  const auto stream = static_cast<cudaStream_t>(launch->stream);
  if (vectors) {
    epilogue_vectors<<<grid, kEpilogueThreads, 0, stream>>>(*args);
  } else {
    epilogue<<<grid, kEpilogueThreads, 0, stream>>>(*args);
  }
  return cudaGetLastError();
}
