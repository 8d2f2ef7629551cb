// Depthwise causal convolution along the tokens with the window carried between calls, and an
// optional silu: the short convolution of GLA, Mamba and Mamba-2. A text cut anywhere into calls
// gives the same outputs as in one call.
#pragma once

#include <cstdint>

#include "device/stream.h"

namespace aquatint::kernels {

// One independent stretch of tokens within the rows of x and y.
struct ConvSequence {
  std::int64_t first_row;  // row of its first token
  std::int64_t tokens;
  float*
      window;  // [kernel - 1, channels], the inputs before the first token, oldest first; updated
};

// y[t, c] = bias[c] + sum over j of w[c, j] * x[t - kernel + 1 + j, c] (then silu if asked), with y
// [rows, channels] apart from x, whose rows lie ldx >= channels apart, w [channels, kernel], bias
// [channels] or null. Inputs before a sequence come from its window, which then holds the last
// kernel - 1 inputs. Error kUnsupported for a kernel outside 1..8, kInvalidArgument for impossible
// sizes or missing arrays.
void conv1d_causal(const float* x, std::int64_t ldx, std::int64_t channels, std::int64_t kernel,
                   const float* w, const float* bias, bool silu, const ConvSequence* sequences,
                   std::int64_t count, float* y);

// The same on the stream's device, where all pointers are but `sequences`, which is the host's and
// no longer needed when it returns.
void conv1d_causal(Stream& stream, const float* x, std::int64_t ldx, std::int64_t channels,
                   std::int64_t kernel, const float* w, const float* bias, bool silu,
                   const ConvSequence* sequences, std::int64_t count, float* y);

}  // namespace aquatint::kernels
