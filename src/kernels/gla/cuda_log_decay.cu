// The log decay of the gates, in place: min(r, 0) - log1p(exp(-|r|)), over the normalizer, clamped.
#include <cuda_runtime.h>
#include <stdint.h>

#include "device/cuda_launch.h"
#include "kernels/cuda_host.cuh"
#include "kernels/gla/cuda_args.h"
#include "kernels/gla/cuda_decay.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) log_decay_kernel(const GlaLogDecayCudaArgs args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < args.n) args.r[i] = log_decay_of(args.r[i], args.normalizer, args.lowest);
}

__global__ void __launch_bounds__(kThreads) log_decay_kernel4(const GlaLogDecayCudaArgs args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (4 * i >= args.n) return;
  float4 x = reinterpret_cast<float4*>(args.r)[i];
  x.x = log_decay_of(x.x, args.normalizer, args.lowest);
  x.y = log_decay_of(x.y, args.normalizer, args.lowest);
  x.z = log_decay_of(x.z, args.normalizer, args.lowest);
  x.w = log_decay_of(x.w, args.normalizer, args.lowest);
  reinterpret_cast<float4*>(args.r)[i] = x;
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_gla_log_decay(const aquatint::kernels::GlaLogDecayCudaArgs* args,
                                           const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->n <= 0) return 0;
  const bool fours = cuda::in_fours(args->n, args->r);
  const int64_t items = fours ? args->n / 4 : args->n;
  const auto blocks = static_cast<unsigned>((items + kThreads - 1) / kThreads);
  const auto stream = static_cast<cudaStream_t>(launch->stream);
  if (fours) {
    log_decay_kernel4<<<blocks, kThreads, 0, stream>>>(*args);
  } else {
    log_decay_kernel<<<blocks, kThreads, 0, stream>>>(*args);
  }
  return static_cast<int>(cudaGetLastError());
}
