#include <cuda_runtime.h>

#include "device/cuda_launch.h"
#include "kernels/cuda_overlap.cuh"
#include "kernels/residual_add/cuda_args.h"

namespace aquatint::kernels {
namespace {

constexpr int kThreads = 256;

__global__ void add(ResidualAddCudaArgs a) {
  cuda::begin_work();
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t fours = a.n / 4;
  if (i < fours) {
    auto* hidden = reinterpret_cast<float4*>(a.hidden) + i;
    const float4 delta = reinterpret_cast<const float4*>(a.delta)[i];
    float4 h = *hidden;
    h.x += delta.x;
    h.y += delta.y;
    h.z += delta.z;
    h.w += delta.w;
    *hidden = h;
  } else if (i < fours + a.n % 4) {
    const int64_t k = 4 * fours + (i - fours);
    a.hidden[k] += a.delta[k];
  }
}

}  // namespace
}  // namespace aquatint::kernels

// REQUIRES: both arrays aligned to 16 bytes, as allocations are.
extern "C" int aquatint_cuda_residual_add(const aquatint::kernels::ResidualAddCudaArgs* args,
                                          const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->n == 0) return cudaSuccess;
  const int64_t work = args->n / 4 + args->n % 4;
  const auto blocks = static_cast<unsigned>((work + kThreads - 1) / kThreads);
  return cuda::launch_overlapped(*launch, add, blocks, kThreads, 0, *args);
}
