// Activation functions on a GPU: elementwise in float32, or by rows that leave as bfloat16 or int8.
#include "kernels/activation/cuda_args.h"
#include "kernels/cuda_rows.cuh"

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
    case Activation::kGeluTanh:
      break;
  }
  constexpr float kSqrtTwoOverPi = 0.7978845608028654f;
  return 0.5f * x * (1.0f + tanhf(kSqrtTwoOverPi * (x + 0.044715f * x * x * x)));
}

__device__ float gated_value(Activation activation, const float* gate, const float* up,
                             int64_t i) {
  const float value = apply(activation, gate[i]);
  return up != nullptr ? value * up[i] : value;
}

__global__ void elementwise(ActivationCudaArgs a) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < a.n) a.y[i] = gated_value(a.activation, a.gate, a.up, i);
}

__global__ void gated_rows(GatedRowsCudaArgs a, cuda::Fault fault) {
  extern __shared__ float shared[];
  float* scratch = shared;
  float* values = shared + cuda::kWarp;
  const int64_t row = blockIdx.x;
  for (int64_t k = threadIdx.x; k < a.columns; k += blockDim.x) {
    values[k] = gated_value(a.activation, a.gate, a.up, row * a.columns + k);
  }
  __syncthreads();
  cuda::write_row(a.sink, fault, row, a.columns, values, scratch);
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_activation(const aquatint::kernels::ActivationCudaArgs* args,
                                        const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->n == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((args->n + kThreads - 1) / kThreads);
  elementwise<<<blocks, kThreads, 0, static_cast<cudaStream_t>(launch->stream)>>>(*args);
  return cudaGetLastError();
}

extern "C" int aquatint_cuda_gated_rows(const aquatint::kernels::GatedRowsCudaArgs* args,
                                        const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  const size_t shared = cuda::row_shared_bytes(args->columns);
  if (const cudaError_t error = cuda::allow_shared(gated_rows, shared)) return error;
  const int threads = cuda::row_threads(args->rows, args->columns, launch->multiprocessors);
  gated_rows<<<static_cast<unsigned>(args->rows), threads, shared,
               static_cast<cudaStream_t>(launch->stream)>>>(*args, cuda::fault_of(*launch));
  return cudaGetLastError();
}
