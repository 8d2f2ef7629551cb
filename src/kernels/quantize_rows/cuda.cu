// Rows of activations to int8 on a GPU: a block of threads holds a row in shared memory, so that it
// is read once.
#include "kernels/cuda_overlap.cuh"
#include "kernels/cuda_rows.cuh"
#include "kernels/quantize_rows/cuda_args.h"

namespace aquatint::kernels {
namespace {

__global__ void quantize_rows(QuantizeRowsCudaArgs a, cuda::Fault fault, bool vectors) {
  cuda::begin_work();
  extern __shared__ __align__(16) float shared[];
  float* scratch = shared;
  float* values = shared + cuda::kWarp;
  const int64_t row = blockIdx.x;
  const float* x = a.x + row * a.columns;
  if (vectors) {
    for (int64_t k = threadIdx.x; k < a.columns / 4; k += blockDim.x) {
      reinterpret_cast<float4*>(values)[k] = reinterpret_cast<const float4*>(x)[k];
    }
  } else {
    for (int64_t k = threadIdx.x; k < a.columns; k += blockDim.x) values[k] = x[k];
  }
  __syncthreads();
  cuda::write_int8(a.sink, fault, row, a.columns, values, scratch);
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_quantize_rows(const aquatint::kernels::QuantizeRowsCudaArgs* args,
                                           const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  const size_t shared = cuda::row_shared_bytes(args->columns);
  if (const cudaError_t error = cuda::allow_shared(quantize_rows, shared)) return error;
  const int threads = cuda::row_threads(args->rows, args->columns, launch->multiprocessors);
  const bool vectors = cuda::in_fours(args->columns, args->x);
  return cuda::launch_overlapped(*launch, quantize_rows, static_cast<unsigned>(args->rows), threads,
                                 shared, *args, cuda::fault_of(*launch), vectors);
}
