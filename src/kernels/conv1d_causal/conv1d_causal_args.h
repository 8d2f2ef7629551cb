// What one call of conv1d_causal.h works on, as its variants see it: a run of tokens of one
// sequence and a range of its channels.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

// Channels a variant is given at most, so that it can keep their taps on the stack.
constexpr int64_t kConvTile = 256;
constexpr int64_t kMaxConvTaps = 8;

struct ConvArgs {
  const float* x;       // [tokens, channels] of the sequence, rows ldx apart
  const float* window;  // [kernel - 1, channels] before it
  const float* w;       // [channels, kernel]
  const float* bias;    // [channels] or null
  float* y;             // [tokens, channels] of the sequence
  int64_t ldx;
  int64_t channels;
  int64_t kernel;
  bool silu;
};

struct ConvTile {
  int64_t token_begin, token_end;
  int64_t channel_begin, channel_end;  // at most kConvTile of them
};

void conv1d_causal_reference(const ConvArgs& args, const ConvTile& tile) noexcept;
void conv1d_causal_avx2(const ConvArgs& args, const ConvTile& tile) noexcept;
void conv1d_causal_avx512(const ConvArgs& args, const ConvTile& tile) noexcept;

}  // namespace aquatint::kernels
