// RMSNorm on a GPU: one block per row, which reads it once and writes it in the form the next
// product wants.
#include "kernels/cuda_overlap.cuh"
#include "kernels/cuda_rows.cuh"
#include "kernels/rms_norm/cuda_args.h"

namespace aquatint::kernels {
namespace {

template <int V>
__global__ void rms_norm(const __grid_constant__ RmsNormCudaArgs a, cuda::Fault fault) {
  cuda::begin_work();
  extern __shared__ __align__(16) float shared[];
  float* scratch = shared;
  float* values = shared + cuda::kWarp;
  const int64_t row = blockIdx.x;
  const int64_t step = int64_t{blockDim.x} * V;
  float sum = 0;
  for (int64_t k = int64_t{threadIdx.x} * V; k < a.columns; k += step) {
    auto x = cuda::load<V>(a.x + row * a.columns + k);
    if (a.delta != nullptr) {
      const auto delta = cuda::load<V>(a.delta + row * a.columns + k);
      for (int i = 0; i < V; ++i) x.v[i] += delta.v[i];
      cuda::store<V>(a.residual + row * a.columns + k, x);
    }
    cuda::store<V>(values + k, x);
    for (int i = 0; i < V; ++i) sum += x.v[i] * x.v[i];
  }
  sum = cuda::block_sum(sum, scratch);
  const float mean = __fdiv_rn(sum, static_cast<float>(a.columns));
  const float inverse = __fdiv_rn(1.0f, __fsqrt_rn(mean + a.eps));
  for (int64_t k = int64_t{threadIdx.x} * V; k < a.columns; k += step) {
    auto x = cuda::load<V>(values + k);
    for (int i = 0; i < V; ++i) x.v[i] *= inverse;
    if (a.w != nullptr) {
      const auto w = cuda::load<V>(a.w + k);
      for (int i = 0; i < V; ++i) x.v[i] *= w.v[i];
    }
    cuda::store<V>(values + k, x);
  }
  __syncthreads();
  cuda::write_row<V>(a.sink, fault, row, a.columns, values, scratch);
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_rms_norm(const aquatint::kernels::RmsNormCudaArgs* args,
                                      const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  const bool fours = cuda::in_fours(args->columns, args->x, args->delta, args->residual, args->w,
                                    args->sink.f32, args->sink.bf16);
  const auto kernel = fours ? rms_norm<4> : rms_norm<1>;
  const size_t shared = cuda::row_shared_bytes(args->columns);
  if (const cudaError_t error = cuda::allow_shared(kernel, shared)) return error;
  const int threads = cuda::row_threads(args->rows, args->columns, launch->multiprocessors);
  return cuda::launch_overlapped(*launch, kernel, static_cast<unsigned>(args->rows), threads,
                                 shared, *args, cuda::fault_of(*launch));
}
