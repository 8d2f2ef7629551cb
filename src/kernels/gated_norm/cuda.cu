// The gated norm of heads on a GPU: a warp takes the vector of one head, reads it once for its
// length and once more, from the cache, for the result.
#include <cuda_runtime.h>

#include "device/cuda_launch.h"
#include "kernels/gated_norm/cuda_args.h"

namespace aquatint::kernels {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 4;  // of a block

__device__ float gated(float normalized, const float* gate, int64_t at) {
  if (gate == nullptr) return normalized;
  const float g = gate[at];
  return normalized * (g / (1.0f + expf(-g)));
}

__device__ float4 gated(float4 normalized, const float* gate, int64_t at) {
  if (gate == nullptr) return normalized;
  const float4 g = *reinterpret_cast<const float4*>(gate + at);
  normalized.x *= g.x / (1.0f + expf(-g.x));
  normalized.y *= g.y / (1.0f + expf(-g.y));
  normalized.z *= g.z / (1.0f + expf(-g.z));
  normalized.w *= g.w / (1.0f + expf(-g.w));
  return normalized;
}

// Every lane gets the factor 1 / sqrt(mean square + eps).
__device__ float inverse_norm(float squares, const GatedNormCudaArgs& a) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    squares += __shfl_xor_sync(~0u, squares, offset);
  }
  return __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(squares, static_cast<float>(a.dv)) + a.eps));
}

// y may be o or gate: a lane writes only what it alone has read, after it was read.
__global__ void norm_four(GatedNormCudaArgs a) {
  const int64_t vector = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (vector >= a.vectors) return;
  const int64_t at = vector * a.dv;
  const int64_t first = threadIdx.x % kWarp * 4;
  float squares = 0;
  for (int64_t j = first; j < a.dv; j += kWarp * 4) {
    const float4 o = *reinterpret_cast<const float4*>(a.o + at + j);
    squares += o.x * o.x + o.y * o.y + (o.z * o.z + o.w * o.w);
  }
  const float inverse = inverse_norm(squares, a);
  for (int64_t j = first; j < a.dv; j += kWarp * 4) {
    float4 y = *reinterpret_cast<const float4*>(a.o + at + j);
    y = make_float4(y.x * inverse, y.y * inverse, y.z * inverse, y.w * inverse);
    if (a.w != nullptr) {
      const float4 w = *reinterpret_cast<const float4*>(a.w + j);
      y = make_float4(y.x * w.x, y.y * w.y, y.z * w.z, y.w * w.w);
    }
    *reinterpret_cast<float4*>(a.y + at + j) = gated(y, a.gate, at + j);
  }
}

__global__ void norm_one(GatedNormCudaArgs a) {
  const int64_t vector = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (vector >= a.vectors) return;
  const int64_t at = vector * a.dv;
  const int64_t first = threadIdx.x % kWarp;
  float squares = 0;
  for (int64_t j = first; j < a.dv; j += kWarp) squares += a.o[at + j] * a.o[at + j];
  const float inverse = inverse_norm(squares, a);
  for (int64_t j = first; j < a.dv; j += kWarp) {
    float y = a.o[at + j] * inverse;
    if (a.w != nullptr) y *= a.w[j];
    a.y[at + j] = gated(y, a.gate, at + j);
  }
}

bool aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % sizeof(float4) == 0;
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_gated_norm(const aquatint::kernels::GatedNormCudaArgs* args,
                                        const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->vectors == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((args->vectors + kWarps - 1) / kWarps);
  const auto stream = static_cast<cudaStream_t>(launch->stream);
  if (args->dv % 4 == 0 && aligned(args->o) && aligned(args->gate) && aligned(args->w) &&
      aligned(args->y)) {
    norm_four<<<blocks, kWarps * kWarp, 0, stream>>>(*args);
  } else {
    norm_one<<<blocks, kWarps * kWarp, 0, stream>>>(*args);
  }
  return cudaGetLastError();
}
