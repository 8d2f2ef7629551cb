// Embedding lookup on a GPU: a block copies one row of the table and converts it to float32. The
// conversions are exact, so results have the bits of the CPU's.
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "device/cuda_launch.h"
#include "kernels/cuda_overlap.cuh"
#include "kernels/embedding/cuda_args.h"

namespace aquatint::kernels {
namespace {

constexpr int kMostThreads = 256;

struct F32 {
  using Element = float;
  using Four = float4;
  static __device__ float value(float x, float) { return x; }
  static __device__ float4 values(float4 x, float) { return x; }
};

struct F16 {
  using Element = uint16_t;
  using Four = ushort4;
  static __device__ float value(uint16_t bits, float) {
    return __half2float(__ushort_as_half(bits));
  }
  static __device__ float4 values(ushort4 x, float) {
    return make_float4(value(x.x, 1), value(x.y, 1), value(x.z, 1), value(x.w, 1));
  }
};

struct BF16 {
  using Element = uint16_t;
  using Four = ushort4;
  static __device__ float value(uint16_t bits, float) {
    return __uint_as_float(static_cast<uint32_t>(bits) << 16);
  }
  static __device__ float4 values(ushort4 x, float) {
    return make_float4(value(x.x, 1), value(x.y, 1), value(x.z, 1), value(x.w, 1));
  }
};

struct Int8 {
  using Element = int8_t;
  using Four = char4;
  static __device__ float value(int8_t x, float scale) { return static_cast<float>(x) * scale; }
  static __device__ float4 values(char4 x, float scale) {
    return make_float4(value(x.x, scale), value(x.y, scale), value(x.z, scale), value(x.w, scale));
  }
};

template <typename Type>
__global__ void embed(EmbeddingCudaArgs a, bool by_four) {
  cuda::begin_work();
  const int64_t row = blockIdx.x;
  const int64_t id = a.ids[row];
  const float scale = a.scales != nullptr ? a.scales[id] : 1.0f;
  const auto* from = static_cast<const typename Type::Element*>(a.table) + id * a.columns;
  float* to = a.y + row * a.columns;
  if (by_four) {
    for (int64_t j = threadIdx.x * 4; j < a.columns; j += blockDim.x * 4) {
      const auto four = *reinterpret_cast<const typename Type::Four*>(from + j);
      *reinterpret_cast<float4*>(to + j) = Type::values(four, scale);
    }
  } else {
    for (int64_t j = threadIdx.x; j < a.columns; j += blockDim.x) {
      to[j] = Type::value(from[j], scale);
    }
  }
}

bool aligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

template <typename Type>
int run(const EmbeddingCudaArgs& a, const CudaLaunch& launch) {
  const bool by_four = a.columns % 4 == 0 && aligned(a.table, sizeof(typename Type::Four)) &&
                       aligned(a.y, sizeof(float4));
  int threads = 32;
  while (threads < kMostThreads && threads * 4 < a.columns) threads *= 2;
  return cuda::launch_overlapped(launch, embed<Type>, static_cast<unsigned>(a.rows), threads, 0, a,
                                 by_four);
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_embedding(const aquatint::kernels::EmbeddingCudaArgs* args,
                                       const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  switch (args->type) {
    case EmbeddingTable::kF32:
      return run<F32>(*args, *launch);
    case EmbeddingTable::kF16:
      return run<F16>(*args, *launch);
    case EmbeddingTable::kBF16:
      return run<BF16>(*args, *launch);
    case EmbeddingTable::kInt8:
      return run<Int8>(*args, *launch);
  }
  return cudaErrorInvalidValue;
}
