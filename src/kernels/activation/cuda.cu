// Activation functions on a GPU: elementwise where values leave as float32 or bfloat16, a block per
// row where the row gets a scale.
#include "kernels/activation/cuda_args.h"
#include "kernels/cuda_overlap.cuh"
#include "kernels/cuda_product.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kThreads = 256;

__device__ float apply(Activation activation, float x) {
  switch (activation) {
    case Activation::kIdentity:
      return x;
    case Activation::kSilu:
      return x / (1.0f + expf(-x));
    case Activation::kRelu:
      return x < 0 ? 0.0f : x;
    case Activation::kSigmoid:
      return 1.0f / (1.0f + expf(-x));
    case Activation::kLogSigmoid:
      return (x < 0 ? x : 0.0f) - log1pf(expf(-fabsf(x)));
    case Activation::kSquaredRelu:
      return x < 0 ? 0.0f : x * x;
    case Activation::kGelu:
      return 0.5f * x * erfcf(-0.70710678f * x);
    case Activation::kGeluTanh:
      break;
  }
  constexpr float kSqrtTwoOverPi = 0.7978845608028654f;
  return 0.5f * x * (1.0f + tanhf(kSqrtTwoOverPi * (x + 0.044715f * x * x * x)));
}

template <int V>
__device__ cuda::Values<V> gated_values(const GatedRowsCudaArgs& a, int64_t row, int64_t k) {
  auto values = cuda::load<V>(a.gate, row, k);
  const auto up = cuda::load<V>(a.up, row, k);
  for (int i = 0; i < V; ++i) values.v[i] = apply(a.activation, values.v[i]) * up.v[i];
  return values;
}

__global__ void activate(ActivationCudaArgs a) {
  cuda::begin_work();
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < a.n) a.x[i] = apply(a.activation, a.x[i]);
}

// Blocks of columns along x, rows along y.
template <int V>
__global__ void gated_elements(const __grid_constant__ GatedRowsCudaArgs a, cuda::Fault fault) {
  cuda::begin_work();
  const int64_t k = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * V;
  if (k >= a.columns) return;
  for (int64_t row = blockIdx.y; row < a.rows; row += gridDim.y) {
    const auto values = gated_values<V>(a, row, k);
    if (a.sink.f32 != nullptr) {
      cuda::store<V>(a.sink.f32 + row * a.columns + k, values);
    } else {
      cuda::store_bf16<V>(a.sink.bf16 + row * a.columns + k, values, fault);
    }
  }
}

template <int V>
__global__ void gated_rows(const __grid_constant__ GatedRowsCudaArgs a, cuda::Fault fault) {
  cuda::begin_work();
  extern __shared__ __align__(16) float shared[];
  float* scratch = shared;
  float* values = shared + cuda::kWarp;
  const int64_t row = blockIdx.x;
  for (int64_t k = int64_t{threadIdx.x} * V; k < a.columns; k += int64_t{blockDim.x} * V) {
    cuda::store<V>(values + k, gated_values<V>(a, row, k));
  }
  __syncthreads();
  cuda::write_int8(a.sink, fault, row, a.columns, values, scratch);
}

cudaError_t launch_rows(const GatedRowsCudaArgs& a, const CudaLaunch& launch, bool fours) {
  const auto kernel = fours ? gated_rows<4> : gated_rows<1>;
  const size_t shared = cuda::row_shared_bytes(a.columns);
  if (const cudaError_t error = cuda::allow_shared(kernel, shared)) return error;
  const int threads = cuda::row_threads(a.rows, a.columns, launch.multiprocessors);
  return cuda::launch_overlapped(launch, kernel, static_cast<unsigned>(a.rows), threads, shared, a,
                                 cuda::fault_of(launch));
}

cudaError_t launch_elements(const GatedRowsCudaArgs& a, const CudaLaunch& launch, bool fours) {
  constexpr int64_t kMostRows = 32768;  // along the grid's second dimension
  const int64_t threads = fours ? a.columns / 4 : a.columns;
  const dim3 grid(static_cast<unsigned>((threads + kThreads - 1) / kThreads),
                  static_cast<unsigned>(a.rows < kMostRows ? a.rows : kMostRows));
  const auto kernel = fours ? gated_elements<4> : gated_elements<1>;
  return cuda::launch_overlapped(launch, kernel, grid, kThreads, 0, a, cuda::fault_of(launch));
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_activation(const aquatint::kernels::ActivationCudaArgs* args,
                                        const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->n == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((args->n + kThreads - 1) / kThreads);
  return cuda::launch_overlapped(*launch, activate, blocks, kThreads, 0, *args);
}

extern "C" int aquatint_cuda_gated_rows(const aquatint::kernels::GatedRowsCudaArgs* args,
                                        const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  const bool fours = cuda::in_fours(args->gate, args->columns) &&
                     cuda::in_fours(args->up, args->columns) &&
                     cuda::in_fours(args->columns, args->sink.f32, args->sink.bf16);
  return args->sink.int8 != nullptr ? launch_rows(*args, *launch, fours)
                                    : launch_elements(*args, *launch, fours);
}
