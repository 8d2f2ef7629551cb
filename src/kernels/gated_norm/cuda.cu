// The gated norm of heads on a GPU. A block takes one head's vector, or all heads of a row where
// the row gets a scale, reads them once and writes them in the form the next product wants.
#include "kernels/cuda_overlap.cuh"
#include "kernels/cuda_product.cuh"
#include "kernels/gated_norm/cuda_args.h"

namespace aquatint::kernels {
namespace {

// One head of a row into shared memory; what is there of other heads stays as it is.
template <int V>
__device__ void norm_head(const GatedNormCudaArgs& a, int64_t row, int64_t head, float* values,
                          float* scratch) {
  const float* o = a.o + (row * a.heads + head) * a.dv;
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
    if (a.gated) {
      const auto g = cuda::load<V>(a.gate, row, head * a.dv + k);
      for (int i = 0; i < V; ++i) x.v[i] *= g.v[i] / (1.0f + expf(-g.v[i]));
    }
    cuda::store<V>(values + k, x);
  }
}

// A block makes `heads` heads: all of its row, or one.
template <int V>
__global__ void gated_norm(const __grid_constant__ GatedNormCudaArgs a, int64_t heads,
                           cuda::Fault fault) {
  cuda::begin_work();
  extern __shared__ __align__(16) float shared[];
  float* scratch = shared;
  float* values = shared + cuda::kWarp;
  const int64_t block = blockIdx.x, first = block * heads;
  for (int64_t h = 0; h < heads; ++h) {
    norm_head<V>(a, (first + h) / a.heads, (first + h) % a.heads, values + h * a.dv, scratch);
  }
  __syncthreads();
  cuda::write_row<V>(a.sink, fault, block, heads * a.dv, values, scratch);
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
      cuda::in_fours(args->dv, args->o, args->w, args->sink.f32, args->sink.bf16) &&
      (!args->gated || cuda::in_fours(args->gate, args->dv));
  const auto kernel = fours ? gated_norm<4> : gated_norm<1>;
  const size_t shared = cuda::row_shared_bytes(heads * args->dv);
  if (const cudaError_t error = cuda::allow_shared(kernel, shared)) return error;
  const int threads = cuda::row_threads(blocks, args->dv, launch->multiprocessors);
  return cuda::launch_overlapped(*launch, kernel, static_cast<unsigned>(blocks), threads, shared,
                                 *args, heads, cuda::fault_of(*launch));
}
