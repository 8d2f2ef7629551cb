// Causal convolution on a GPU: a thread takes one channel of a run of tokens and keeps the inputs
// that are still needed in registers.
#include <cuda_runtime.h>

#include "device/cuda_launch.h"
#include "kernels/conv1d_causal/cuda_args.h"

namespace aquatint::kernels {
namespace {

constexpr int kThreads = 128;
// Tokens of a run; at least the most taps, so that only a sequence's first run sees its window.
constexpr int64_t kRun = 16;

__host__ __device__ int64_t runs_of(const ConvCudaSequence& sequence) {
  return (sequence.tokens + kRun - 1) / kRun;
}

// The window's rows follow the inputs that came in; `old` holds what it was.
template <int kTaps>
__device__ void update_window(const ConvCudaSequence& sequence, const float* x, int64_t ldx,
                              int64_t channels, const float (&old)[kTaps]) {
  constexpr int kKept = kTaps - 1;
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    // Row i of the new window is input tokens - kKept + i, which may lie in the old one.
    const int64_t t = sequence.tokens - kKept + i;
    float value = 0;
    if (t >= 0) {
      value = x[t * ldx];
    } else {
#pragma unroll
      for (int j = 0; j < kKept; ++j) {
        if (t + kKept == j) value = old[j];
      }
    }
    sequence.window[i * channels] = value;
  }
}

template <int kTaps>
__global__ void convolve(const __grid_constant__ ConvCudaArgs a) {
  constexpr int kKept = kTaps - 1;
  const int64_t channel = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  if (channel >= a.channels) return;
  int64_t run = blockIdx.x;
  int s = 0;
  for (; run >= runs_of(a.sequences[s]); ++s) run -= runs_of(a.sequences[s]);
  ConvCudaSequence sequence = a.sequences[s];
  if (kKept > 0) sequence.window += channel;
  const float* x = a.x + sequence.first_row * a.ldx + channel;
  float* y = a.y + sequence.first_row * a.channels + channel;

  float w[kTaps];
#pragma unroll
  for (int j = 0; j < kTaps; ++j) w[j] = a.w[channel * kTaps + j];
  const float bias = a.bias != nullptr ? a.bias[channel] : 0.0f;

  const int64_t begin = run * kRun;
  const int64_t end = begin + kRun < sequence.tokens ? begin + kRun : sequence.tokens;
  float recent[kTaps];  // the inputs before the next one, oldest first, and room for that one
#pragma unroll
  for (int j = 0; j < kKept; ++j) {
    recent[j] = begin == 0 ? sequence.window[j * a.channels] : x[(begin - kKept + j) * a.ldx];
  }
  float old[kTaps];
#pragma unroll
  for (int j = 0; j < kKept; ++j) old[j] = recent[j];

#pragma unroll 4
  for (int64_t t = begin; t < end; ++t) {
    recent[kKept] = x[t * a.ldx];
    float sum = bias;
#pragma unroll
    for (int j = 0; j < kTaps; ++j) sum += w[j] * recent[j];
    if (a.silu) sum = sum / (1.0f + expf(-sum));
    y[t * a.channels] = sum;
#pragma unroll
    for (int j = 0; j < kKept; ++j) recent[j] = recent[j + 1];
  }
  // This thread alone has read this channel of the window, above.
  if (kKept > 0 && begin == 0) update_window<kTaps>(sequence, x, a.ldx, a.channels, old);
}

template <int kTaps>
int run(const ConvCudaArgs& args, cudaStream_t stream) {
  int64_t runs = 0;
  for (int64_t s = 0; s < args.count; ++s) runs += runs_of(args.sequences[s]);
  if (runs == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(runs),
                  static_cast<unsigned>((args.channels + kThreads - 1) / kThreads));
  convolve<kTaps><<<grid, kThreads, 0, stream>>>(args);
  return cudaGetLastError();
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_conv1d_causal(const aquatint::kernels::ConvCudaArgs* args,
                                           const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  const auto stream = static_cast<cudaStream_t>(launch->stream);
  switch (args->kernel) {
    case 1:
      return run<1>(*args, stream);
    case 2:
      return run<2>(*args, stream);
    case 3:
      return run<3>(*args, stream);
    case 4:
      return run<4>(*args, stream);
    case 5:
      return run<5>(*args, stream);
    case 6:
      return run<6>(*args, stream);
    case 7:
      return run<7>(*args, stream);
    case 8:
      return run<8>(*args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}
