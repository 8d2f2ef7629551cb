// The causal convolution written once over the vector type V; the instruction set files instantiate
// it. Lanes are channels. The taps are transposed into a small stack buffer first, and rows are
// walked in order, so every input is read from memory once and kernel - 1 times from cache.
#pragma once

#include "kernels/conv1d_causal/conv1d_causal_args.h"
#include "kernels/simd_math.h"

namespace aquatint::kernels {
namespace {

struct ConvTaps {
  alignas(64) float w[kMaxConvTaps][kConvTile];
  alignas(64) float bias[kConvTile];
};

template <int kTaps>
void load_taps(const ConvArgs& args, const ConvTile& tile, ConvTaps& taps) {
  const int64_t n = tile.channel_end - tile.channel_begin;
  const float* w = args.w + tile.channel_begin * kTaps;
  for (int64_t c = 0; c < n; ++c) {
    for (int j = 0; j < kTaps; ++j) taps.w[j][c] = w[c * kTaps + j];
    taps.bias[c] = args.bias != nullptr ? args.bias[tile.channel_begin + c] : 0.0F;
  }
}

// Lanes of a partial vector that hold no channel compute on stale taps and are not stored.
template <typename V, int kTaps, bool kSilu, bool kPartial>
void conv_vector(const float* const* rows, const ConvTaps& taps, int64_t c, int64_t lanes,
                 float* y) {
  auto sum = V::load(taps.bias + c);
  for (int j = 0; j < kTaps; ++j) {
    const auto x = kPartial ? V::load_first(rows[j] + c, lanes) : V::load(rows[j] + c);
    sum = V::fma(x, V::load(taps.w[j] + c), sum);
  }
  if constexpr (kSilu) sum = vector_silu<V>(sum);
  if constexpr (kPartial) {
    V::store_first(y + c, sum, lanes);
  } else {
    V::store(y + c, sum);
  }
}

template <typename V, int kTaps, bool kSilu>
void conv_tile(const ConvArgs& args, const ConvTile& tile) {
  ConvTaps taps;
  load_taps<kTaps>(args, tile, taps);
  const int64_t n = tile.channel_end - tile.channel_begin;
  const int64_t whole = n / V::kWidth * V::kWidth;
  for (int64_t t = tile.token_begin; t < tile.token_end; ++t) {
    const float* rows[kMaxConvTaps];
    for (int j = 0; j < kTaps; ++j) {
      const int64_t i = t - (kTaps - 1) + j;
      rows[j] = (i < 0 ? args.window + (i + kTaps - 1) * args.channels : args.x + i * args.ldx) +
                tile.channel_begin;
    }
    float* y = args.y + t * args.channels + tile.channel_begin;
    for (int64_t c = 0; c < whole; c += V::kWidth) {
      conv_vector<V, kTaps, kSilu, false>(rows, taps, c, V::kWidth, y);
    }
    if (whole < n) conv_vector<V, kTaps, kSilu, true>(rows, taps, whole, n - whole, y);
  }
}

template <typename V, int kTaps>
void conv_taps(const ConvArgs& args, const ConvTile& tile) {
  if (args.silu) return conv_tile<V, kTaps, true>(args, tile);
  conv_tile<V, kTaps, false>(args, tile);
}

template <typename V>
void conv1d_causal_body(const ConvArgs& args, const ConvTile& tile) {
  switch (args.kernel) {
    case 1:
      return conv_taps<V, 1>(args, tile);
    case 2:
      return conv_taps<V, 2>(args, tile);
    case 3:
      return conv_taps<V, 3>(args, tile);
    case 4:
      return conv_taps<V, 4>(args, tile);
    case 5:
      return conv_taps<V, 5>(args, tile);
    case 6:
      return conv_taps<V, 6>(args, tile);
    case 7:
      return conv_taps<V, 7>(args, tile);
    default:
      return conv_taps<V, 8>(args, tile);
  }
}

}  // namespace
}  // namespace aquatint::kernels
