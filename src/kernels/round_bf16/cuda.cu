#include "kernels/cuda_overlap.cuh"
#include "kernels/cuda_rows.cuh"
#include "kernels/round_bf16/cuda_args.h"

namespace aquatint::kernels {
namespace {

constexpr int kThreads = 256;

__device__ uint16_t rounded(float value, bool& finite) {
  const uint16_t bits = cuda::to_bf16(value);
  finite = finite && (bits & 0x7f80u) != 0x7f80u;
  return bits;
}

// Four values a thread where all four are there, and the last up to three by threads of their own.
__global__ void round_bf16(RoundBf16CudaArgs a, cuda::Fault fault) {
  cuda::begin_work();
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t fours = a.n / 4;
  bool finite = true;
  if (i < fours) {
    const float4 x = reinterpret_cast<const float4*>(a.x)[i];
    ushort4 y;
    y.x = rounded(x.x, finite);
    y.y = rounded(x.y, finite);
    y.z = rounded(x.z, finite);
    y.w = rounded(x.w, finite);
    reinterpret_cast<ushort4*>(a.y)[i] = y;
  } else if (i < fours + a.n % 4) {
    const int64_t k = 4 * fours + (i - fours);
    a.y[k] = rounded(a.x[k], finite);
  }
  if (!finite) cuda::report(fault);
}

}  // namespace
}  // namespace aquatint::kernels

// REQUIRES: x aligned to 16 bytes and y to 8, as allocations are.
extern "C" int aquatint_cuda_round_bf16(const aquatint::kernels::RoundBf16CudaArgs* args,
                                        const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->n == 0) return cudaSuccess;
  const int64_t work = args->n / 4 + args->n % 4;
  const auto blocks = static_cast<unsigned>((work + kThreads - 1) / kThreads);
  return cuda::launch_overlapped(*launch, round_bf16, blocks, kThreads, 0, *args,
                                 cuda::fault_of(*launch));
}
