// Rotary embedding on a GPU: a thread makes the sine and cosine of one row and frequency and turns
// that pair of some heads.
#include <cuda_runtime.h>

#include "device/cuda_launch.h"
#include "kernels/rope/cuda_args.h"

namespace aquatint::kernels {
namespace {

constexpr int kThreads = 128;
// Threads per multiprocessor below which heads are spread over more of them.
constexpr int64_t kEnoughThreads = 1024;

__global__ void rotate(RopeCudaArgs a, int64_t chunks, int64_t heads_per_chunk) {
  const int64_t item = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= a.rows * chunks * a.half) return;
  const int64_t i = item % a.half;
  const int64_t chunk = item / a.half % chunks;
  const int64_t row = item / (a.half * chunks);
  // Rounded to float32 before the sine: what models trained with float32 angles saw.
  const float angle = __fmul_rn(static_cast<float>(a.positions[row]), a.inv_freq[i]);
  // In half turns, where reducing the angle is exact; float64, so that this product costs nothing
  // even at the largest positions. sincosf would need an array in local memory for those.
  constexpr double kInversePi = 0.31830988618379067154;
  double sine = 0, cosine = 0;
  sincospi(static_cast<double>(angle) * kInversePi, &sine, &cosine);
  const float s = static_cast<float>(sine), c = static_cast<float>(cosine);
  const int64_t begin = chunk * heads_per_chunk;
  const int64_t end = begin + heads_per_chunk < a.heads ? begin + heads_per_chunk : a.heads;
  float* x = a.x + (row * a.heads + begin) * 2 * a.half + i;
  for (int64_t head = begin; head < end; ++head, x += 2 * a.half) {
    const float u = x[0], v = x[a.half];
    x[0] = u * c - v * s;
    x[a.half] = v * c + u * s;
  }
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_rope(const aquatint::kernels::RopeCudaArgs* args,
                                  const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  int64_t chunks = 1, heads_per_chunk = args->heads;
  while (heads_per_chunk > 1 &&
         args->rows * chunks * args->half < kEnoughThreads * launch->multiprocessors) {
    heads_per_chunk = (heads_per_chunk + 1) / 2;
    chunks = (args->heads + heads_per_chunk - 1) / heads_per_chunk;
  }
  const int64_t items = args->rows * chunks * args->half;
  const auto blocks = static_cast<unsigned>((items + kThreads - 1) / kThreads);
  rotate<<<blocks, kThreads, 0, static_cast<cudaStream_t>(launch->stream)>>>(*args, chunks,
                                                                             heads_per_chunk);
  return cudaGetLastError();
}
