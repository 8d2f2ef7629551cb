// RMSNorm on a GPU: one block per row, which reads it once and writes it in the form the next
// product wants.
#include "kernels/cuda_rows.cuh"
#include "kernels/rms_norm/cuda_args.h"

namespace aquatint::kernels {
namespace {

__global__ void rms_norm(RmsNormCudaArgs a, cuda::Fault fault) {
  extern __shared__ float shared[];
  float* scratch = shared;
  float* values = shared + cuda::kWarp;
  const int64_t row = blockIdx.x;
  const float* x = a.x + row * a.columns;
  float sum = 0;
  for (int64_t k = threadIdx.x; k < a.columns; k += blockDim.x) {
    float value = x[k];
    if (a.delta != nullptr) {
      value += a.delta[row * a.columns + k];
      a.residual[row * a.columns + k] = value;
    }
    values[k] = value;
    sum += value * value;
  }
  sum = cuda::block_sum(sum, scratch);
  const float mean = __fdiv_rn(sum, static_cast<float>(a.columns));
  const float inverse = __fdiv_rn(1.0f, __fsqrt_rn(mean + a.eps));
  for (int64_t k = threadIdx.x; k < a.columns; k += blockDim.x) {
    const float normalized = values[k] * inverse;
    values[k] = a.w != nullptr ? normalized * a.w[k] : normalized;
  }
  __syncthreads();
  cuda::write_row(a.sink, fault, row, a.columns, values, scratch);
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_rms_norm(const aquatint::kernels::RmsNormCudaArgs* args,
                                      const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  const size_t shared = cuda::row_shared_bytes(args->columns);
  if (const cudaError_t error = cuda::allow_shared(rms_norm, shared)) return error;
  const int threads = cuda::row_threads(args->rows, args->columns, launch->multiprocessors);
  rms_norm<<<static_cast<unsigned>(args->rows), threads, shared,
             static_cast<cudaStream_t>(launch->stream)>>>(*args, cuda::fault_of(*launch));
  return cudaGetLastError();
}
