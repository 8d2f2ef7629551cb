// Packed weights back to bfloat16 rows in the order of the columns, for products with many rows
// that a library makes. A block of threads writes one output.
#include "kernels/cuda_rows.cuh"
#include "kernels/quant_matmul/cuda_values.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kDequantizeThreads = 128;

__global__ void dequantize(const __grid_constant__ DequantizeCudaArgs a, bool vectors) {
  const QuantWeightsCuda& w = a.w;
  const int64_t n = blockIdx.x;
  uint16_t* out = a.out + n * a.ldo;
  for (int64_t chunk = threadIdx.x; chunk * 8 < a.ldo; chunk += blockDim.x) {
    const int64_t first = chunk * 8;
    alignas(16) uint16_t values[8] = {};
    if (first < w.columns) {
      const Group group = load_group(w, n, first);
      // With one scale per output the integers are written, which are exact.
      const float scale = w.groups == 1 ? 1.0f : group.scale;
      int q[8];
      load_values(w, n, chunk, q);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (first + i < w.columns) {
          values[i] = cuda::to_bf16(static_cast<float>(q[i] - group.zero) * scale);
        }
      }
    }
    if (vectors) {
      uint4 packed;
      packed.x = values[0] | static_cast<uint32_t>(values[1]) << 16;
      packed.y = values[2] | static_cast<uint32_t>(values[3]) << 16;
      packed.z = values[4] | static_cast<uint32_t>(values[5]) << 16;
      packed.w = values[6] | static_cast<uint32_t>(values[7]) << 16;
      *reinterpret_cast<uint4*>(out + first) = packed;
    } else {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (first + i < a.ldo) out[first + i] = values[i];
      }
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_dequantize(const aquatint::kernels::DequantizeCudaArgs* args,
                                        const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->w.outputs == 0) return cudaSuccess;
  const bool vectors = cuda::aligned16(args->out) && args->ldo % 8 == 0;
  dequantize<<<static_cast<unsigned>(args->w.outputs), kDequantizeThreads, 0,
               static_cast<cudaStream_t>(launch->stream)>>>(*args, vectors);
  return cudaGetLastError();
}
