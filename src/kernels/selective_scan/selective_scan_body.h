// The selective scan written once over the vector type V; the instruction set files instantiate it.
// Lanes are channels, so nothing is summed across lanes. A single token walks the state in memory
// order, reading and writing each value once. Longer runs take the channels of one vector at a
// time: their state and rates are copied next to each other, and in blocks of tokens, kRows rows of
// the state stay in registers.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/selective_scan/selective_scan_args.h"
#include "kernels/simd_lanes.h"
#include "kernels/simd_math.h"

namespace aquatint::kernels::scan {
namespace {

constexpr int64_t kTokensAtOnce = 16;
constexpr int64_t kPrefetchTokens = 4;
constexpr int64_t kVectorsPerTile = 4;
constexpr int64_t kVectorsPerStep = 4;
// Up to here a run is a sequence of single steps.
constexpr int64_t kFewTokens = 2;

// What some vectors of channels need of up to kTokensAtOnce tokens, and their state. Several
// vectors, so that the lines of memory that a token's row gives lie next to each other.
template <typename V>
struct Tile {
  static constexpr int64_t kWidth = kVectorsPerTile * V::kWidth;
  static constexpr int64_t kFloats = kTokensAtOnce * kWidth;
  float* delta;   // [tokens, kWidth]
  float* input;   // [tokens, kWidth]: delta x
  float* output;  // [tokens, kWidth], before the gate
  float* state;   // [states, kWidth]
  float* rates;   // [states, kWidth]

  Tile(float* scratch, int64_t states)
      : delta(scratch),
        input(delta + kFloats),
        output(input + kFloats),
        state(output + kFloats),
        rates(state + states * kWidth) {}
  static int64_t bytes(int64_t states) noexcept {
    return (3 * kFloats + 2 * states * kWidth) * static_cast<int64_t>(sizeof(float));
  }
};

// ---- Single tokens ----

// kVectors vectors of channels from `channel`, of which the last has `lanes` lanes.
template <typename V, int64_t kVectors>
void step_channels(const Args& a, const Sequence& sequence, int64_t row, int64_t channel,
                   int64_t lanes) {
  typename V::Reg delta[static_cast<size_t>(kVectors)], input[static_cast<size_t>(kVectors)],
      y[static_cast<size_t>(kVectors)];
  const auto lanes_of = [&](int64_t v) { return v + 1 < kVectors ? V::kWidth : lanes; };
  for (int64_t v = 0; v < kVectors; ++v) {
    const int64_t c = channel + v * V::kWidth, n = lanes_of(v);
    const auto x = load_upto<V>(a.x + row * a.ldx + c, n);
    delta[v] = vector_softplus<V>(load_upto<V>(a.dt + row * a.channels + c, n));
    input[v] = V::mul(delta[v], x);
    y[v] = V::mul(load_upto<V>(a.skip + c, n), x);
  }
  for (int64_t s = 0; s < a.states; ++s) {
    const auto b = V::set(a.b[row * a.ldbc + s]);
    const auto out = V::set(a.c[row * a.ldbc + s]);
    float* state = sequence.state + s * a.channels + channel;
    const float* rates = a.rates + s * a.channels + channel;
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t at = v * V::kWidth, n = lanes_of(v);
      // Rows lie far apart, where hardware does not look ahead: ask for the next channels.
      __builtin_prefetch(state + at + kVectors * V::kWidth, 1, 3);
      __builtin_prefetch(rates + at + kVectors * V::kWidth, 0, 3);
      const auto decay = vector_exp2_decay<V>(V::mul(delta[v], load_upto<V>(rates + at, n)));
      const auto next = V::fma(load_upto<V>(state + at, n), decay, V::mul(input[v], b));
      store_upto<V>(state + at, next, n);
      y[v] = V::fma(next, out, y[v]);
    }
  }
  for (int64_t v = 0; v < kVectors; ++v) {
    const int64_t c = channel + v * V::kWidth, n = lanes_of(v);
    if (a.z != nullptr) {
      y[v] = V::mul(y[v], vector_silu<V>(load_upto<V>(a.z + row * a.ldz + c, n)));
    }
    store_upto<V>(a.y + row * a.channels + c, y[v], n);
  }
}

template <typename V>
void step(const Args& a, const Sequence& sequence, int64_t row, int64_t begin, int64_t end) {
  constexpr int64_t kStrip = kVectorsPerStep * V::kWidth;
  int64_t channel = begin;
  for (; channel + kStrip <= end; channel += kStrip) {
    step_channels<V, kVectorsPerStep>(a, sequence, row, channel, V::kWidth);
  }
  for (; channel < end; channel += V::kWidth) {
    const int64_t lanes = end - channel < V::kWidth ? end - channel : V::kWidth;
    step_channels<V, 1>(a, sequence, row, channel, lanes);
  }
}

// ---- Runs of tokens ----

// Channels [channel, channel + channels) of tokens [row, row + tokens).
struct Block {
  int64_t row, tokens, channel, channels;
};

// The tile's delta, delta x and D x.
template <typename V>
void prepare(const Args& a, const Tile<V>& tile, const Block& block) {
  for (int64_t t = 0; t < block.tokens; ++t) {
    const float* x = a.x + (block.row + t) * a.ldx + block.channel;
    const float* dt = a.dt + (block.row + t) * a.channels + block.channel;
    const int64_t at = t * Tile<V>::kWidth;
    for (int64_t v = 0; v < block.channels; v += V::kWidth) {
      // Rows lie further apart than hardware looks ahead.
      __builtin_prefetch(x + kPrefetchTokens * a.ldx + v, 0, 3);
      __builtin_prefetch(dt + kPrefetchTokens * a.channels + v, 0, 3);
      const int64_t lanes = block.channels - v;
      const auto value = load_upto<V>(x + v, lanes);
      const auto delta = vector_softplus<V>(load_upto<V>(dt + v, lanes));
      V::store(tile.delta + at + v, delta);
      V::store(tile.input + at + v, V::mul(delta, value));
      V::store(tile.output + at + v,
               V::mul(load_upto<V>(a.skip + block.channel + v, lanes), value));
    }
  }
}

// Rows [first, first + kRows) of the state of the tile's channels [v, v + V::kWidth).
template <typename V, int64_t kRows>
void scan_rows(const Args& a, const Tile<V>& tile, const Block& block, int64_t v, int64_t first) {
  constexpr int64_t kWidth = Tile<V>::kWidth;
  float* state = tile.state + first * kWidth + v;
  const float* rates = tile.rates + first * kWidth + v;
  typename V::Reg s[static_cast<size_t>(kRows)];
  for (int64_t r = 0; r < kRows; ++r) s[r] = V::load(state + r * kWidth);
  for (int64_t t = 0; t < block.tokens; ++t) {
    const float* b = a.b + (block.row + t) * a.ldbc + first;
    const float* c = a.c + (block.row + t) * a.ldbc + first;
    const auto delta = V::load(tile.delta + t * kWidth + v);
    const auto input = V::load(tile.input + t * kWidth + v);
    auto y = V::load(tile.output + t * kWidth + v);
    for (int64_t r = 0; r < kRows; ++r) {
      const auto decay = vector_exp2_decay<V>(V::mul(delta, V::load(rates + r * kWidth)));
      s[r] = V::fma(s[r], decay, V::mul(input, V::set(b[r])));
      y = V::fma(s[r], V::set(c[r]), y);
    }
    V::store(tile.output + t * kWidth + v, y);
  }
  for (int64_t r = 0; r < kRows; ++r) V::store(state + r * kWidth, s[r]);
}

// As many rows at once as there are registers for, then halves of that.
template <typename V, int64_t kRows>
void scan_all_rows(const Args& a, const Tile<V>& tile, const Block& block, int64_t v,
                   int64_t first) {
  for (; first + kRows <= a.states; first += kRows) {
    scan_rows<V, kRows>(a, tile, block, v, first);
  }
  if constexpr (kRows > 1) scan_all_rows<V, kRows / 2>(a, tile, block, v, first);
}

template <typename V>
void finish(const Args& a, const Tile<V>& tile, const Block& block) {
  for (int64_t t = 0; t < block.tokens; ++t) {
    float* to = a.y + (block.row + t) * a.channels + block.channel;
    for (int64_t v = 0; v < block.channels; v += V::kWidth) {
      const int64_t lanes = block.channels - v;
      auto y = V::load(tile.output + t * Tile<V>::kWidth + v);
      if (a.z != nullptr) {
        const float* z = a.z + (block.row + t) * a.ldz + block.channel + v;
        __builtin_prefetch(z + kPrefetchTokens * a.ldz, 0, 3);
        y = V::mul(y, vector_silu<V>(load_upto<V>(z, lanes)));
      }
      store_upto<V>(to + v, y, lanes);
    }
  }
}

// All tokens of a sequence for up to a tile of channels.
template <typename V>
void scan_channels(const Args& a, const Sequence& sequence, Block block, const Tile<V>& tile) {
  constexpr int64_t kWidth = Tile<V>::kWidth;
  for (int64_t n = 0; n < a.states; ++n) {
    const int64_t at = n * a.channels + block.channel;
    for (int64_t v = 0; v < block.channels; v += V::kWidth) {
      const int64_t lanes = block.channels - v;
      V::store(tile.state + n * kWidth + v, load_upto<V>(sequence.state + at + v, lanes));
      V::store(tile.rates + n * kWidth + v, load_upto<V>(a.rates + at + v, lanes));
    }
  }
  for (int64_t t = 0; t < sequence.tokens; t += kTokensAtOnce) {
    const int64_t left = sequence.tokens - t;
    block.tokens = left < kTokensAtOnce ? left : kTokensAtOnce;
    block.row = sequence.first_row + t;
    prepare<V>(a, tile, block);
    for (int64_t v = 0; v < block.channels; v += V::kWidth) {
      scan_all_rows<V, V::kStateRows>(a, tile, block, v, 0);
    }
    finish<V>(a, tile, block);
  }
  for (int64_t n = 0; n < a.states; ++n) {
    float* state = sequence.state + n * a.channels + block.channel;
    for (int64_t v = 0; v < block.channels; v += V::kWidth) {
      store_upto<V>(state + v, V::load(tile.state + n * kWidth + v), block.channels - v);
    }
  }
}

template <typename V>
void scan_body(const Args& a, int64_t begin, int64_t end, void* scratch) {
  const Tile<V> tile(static_cast<float*>(scratch), a.states);
  for (int64_t s = 0; s < a.count; ++s) {
    const Sequence& sequence = a.sequences[s];
    if (sequence.tokens <= kFewTokens) {
      for (int64_t t = 0; t < sequence.tokens; ++t) {
        step<V>(a, sequence, sequence.first_row + t, begin, end);
      }
      continue;
    }
    constexpr int64_t kWidth = Tile<V>::kWidth;
    for (int64_t channel = begin; channel < end; channel += kWidth) {
      const int64_t channels = end - channel < kWidth ? end - channel : kWidth;
      scan_channels<V>(a, sequence, {0, 0, channel, channels}, tile);
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels::scan
