// What one call of the CUDA form of conv1d_causal.h works on. The sequences travel inside it, so
// that nothing must be copied to the GPU first.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

struct ConvCudaSequence {
  int64_t first_row = 0, tokens = 0;
  float* window = nullptr;  // [kernel - 1, channels]
};

struct ConvCudaArgs {
  static constexpr int64_t kMostSequences = 64;

  const float* x = nullptr;     // [rows, channels], rows ldx apart
  const float* w = nullptr;     // [channels, kernel]
  const float* bias = nullptr;  // [channels] or null
  float* y = nullptr;           // [rows, channels], apart from x
  int64_t ldx = 0, channels = 0, kernel = 0;
  bool silu = false;
  int64_t count = 0;
  ConvCudaSequence sequences[kMostSequences];
};

}  // namespace aquatint::kernels
