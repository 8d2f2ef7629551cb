// The gated norm of heads on a GPU. A block takes one head's vector, or all heads of a row where
// the row gets a scale, reads them once and writes them in the form the next product wants.
#include "kernels/cuda_rows.cuh"
#include "kernels/gated_norm/cuda_args.h"

namespace aquatint::kernels {
namespace {

// The head's vector at `o` into shared memory; results of other heads stay as they are.
template <int V>
__device__ void norm_head(const GatedNormCudaArgs& a, const float* o, const float* gate,
                          float* values, float* scratch) {
  const int64_t first = int64_t{threadIdx.x} * V, step = int64_t{blockDim.x} * V;
  float squares = 0;
  for (int64_t k = first; k < a.dv; k += step) {
    const auto x = cuda::load<V>(o + k);
    cuda::store<V>(values + k, x);
    for (int i = 0; i < V; ++i) squares += x.v[i] * x.v[i];
  }
  squares = cuda::block_sum(squares, scratch);
  const float mean = __fdiv_rn(squares, static_cast<float>(a.dv));
  const float inverse = __fdiv_rn(1.0f, __fsqrt_rn(mean + a.eps));
  for (int64_t k = first; k < a.dv; k += step) {
    auto x = cuda::load<V>(values + k);
    for (int i = 0; i < V; ++i) x.v[i] *= inverse;
    if (a.w != nullptr) {
      const auto w = cuda::load<V>(a.w + k);
      for (int i = 0; i < V; ++i) x.v[i] *= w.v[i];
    }
    if (gate != nullptr) {
      const auto g = cuda::load<V>(gate + k);
      for (int i = 0; i < V; ++i) x.v[i] *= g.v[i] / (1.0f + expf(-g.v[i]));
    }
    cuda::store<V>(values + k, x);
  }
}

// `heads` of the row or vector that is the block's.
template <int V>
__global__ void gated_norm(const __grid_constant__ GatedNormCudaArgs a, int64_t heads,
                           cuda::Fault fault) {
  extern __shared__ __align__(16) float shared[];
  float* scratch = shared;
  float* values = shared + cuda::kWarp;
  const int64_t columns = heads * a.dv, block = blockIdx.x;
  for (int64_t h = 0; h < heads; ++h) {
    const int64_t at = block * columns + h * a.dv;
    norm_head<V>(a, a.o + at, a.gate != nullptr ? a.gate + at : nullptr, values + h * a.dv,
                 scratch);
  }
  __syncthreads();
  cuda::write_row<V>(a.sink, fault, block, columns, values, scratch);
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_gated_norm(const aquatint::kernels::GatedNormCudaArgs* args,
                                        const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  const bool whole_rows = args->sink.int8 != nullptr;
  const int64_t heads = whole_rows ? args->heads : 1;
  const int64_t blocks = whole_rows ? args->rows : args->rows * args->heads;
  const bool fours =
      cuda::in_fours(args->dv, args->o, args->gate, args->w, args->sink.f32, args->sink.bf16);
  const auto kernel = fours ? gated_norm<4> : gated_norm<1>;
  const size_t shared = cuda::row_shared_bytes(heads * args->dv);
  if (const cudaError_t error = cuda::allow_shared(kernel, shared)) return error;
  const int threads = cuda::row_threads(blocks, args->dv, launch->multiprocessors);
  kernel<<<static_cast<unsigned>(blocks), threads, shared,
           static_cast<cudaStream_t>(launch->stream)>>>(*args, heads, cuda::fault_of(*launch));
  return cudaGetLastError();
}
