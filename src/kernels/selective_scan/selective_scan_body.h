// The selective scan written once over the vector type V; the instruction set files instantiate it.
// Lanes are channels, so nothing is summed across lanes. A single token walks the state in memory
// order, reading and writing each value once. Longer runs take the channels of one vector at a
// time: their state and rates are copied next to each other, and in blocks of tokens, kRows rows of
// the state stay in registers.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/selective_scan/selective_scan_args.h"
#include "kernels/simd_math.h"

namespace aquatint::kernels::scan {
namespace {

constexpr int64_t kTokensAtOnce = 32;
constexpr int64_t kPrefetchTokens = 4;
constexpr int64_t kVectorsPerStep = 4;
// Up to here a run is a sequence of single steps.
constexpr int64_t kFewTokens = 2;

template <typename V>
[[gnu::always_inline]] inline typename V::Reg load_upto(const float* p, int64_t n) {
  return n >= V::kWidth ? V::load(p) : V::load_first(p, n);
}
template <typename V>
[[gnu::always_inline]] inline void store_upto(float* p, typename V::Reg x, int64_t n) {
  if (n >= V::kWidth) {
    V::store(p, x);
  } else {
    V::store_first(p, x, n);
  }
}

// What one vector of channels needs of up to kTokensAtOnce tokens, and its state.
template <typename V>
struct Tile {
  static constexpr int64_t kFloats = kTokensAtOnce * V::kWidth;
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
        rates(state + states * V::kWidth) {}
  static int64_t bytes(int64_t states) noexcept {
    return (3 * kFloats + 2 * states * V::kWidth) * static_cast<int64_t>(sizeof(float));
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

// The tile's delta, delta x and D x of tokens [row, row + tokens).
template <typename V>
void prepare(const Args& a, const Tile<V>& tile, int64_t row, int64_t tokens, int64_t channel,
             int64_t lanes) {
  const auto skip = load_upto<V>(a.skip + channel, lanes);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* at_x = a.x + (row + t) * a.ldx + channel;
    const float* at_dt = a.dt + (row + t) * a.channels + channel;
    // Rows lie further apart than hardware looks ahead.
    __builtin_prefetch(at_x + kPrefetchTokens * a.ldx, 0, 3);
    __builtin_prefetch(at_dt + kPrefetchTokens * a.channels, 0, 3);
    const auto x = load_upto<V>(at_x, lanes);
    const auto delta = vector_softplus<V>(load_upto<V>(at_dt, lanes));
    V::store(tile.delta + t * V::kWidth, delta);
    V::store(tile.input + t * V::kWidth, V::mul(delta, x));
    V::store(tile.output + t * V::kWidth, V::mul(skip, x));
  }
}

// Rows [first, first + kRows) of the state over the tile's tokens.
template <typename V, int64_t kRows>
void scan_rows(const Args& a, const Tile<V>& tile, int64_t row, int64_t tokens, int64_t first) {
  constexpr auto kCount = static_cast<size_t>(kRows);
  float* state = tile.state + first * V::kWidth;
  const float* rates = tile.rates + first * V::kWidth;
  typename V::Reg s[kCount];
  for (int64_t r = 0; r < kRows; ++r) s[r] = V::load(state + r * V::kWidth);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* b = a.b + (row + t) * a.ldbc + first;
    const float* c = a.c + (row + t) * a.ldbc + first;
    const auto delta = V::load(tile.delta + t * V::kWidth);
    const auto input = V::load(tile.input + t * V::kWidth);
    auto y = V::load(tile.output + t * V::kWidth);
    for (int64_t r = 0; r < kRows; ++r) {
      const auto decay = vector_exp2_decay<V>(V::mul(delta, V::load(rates + r * V::kWidth)));
      s[r] = V::fma(s[r], decay, V::mul(input, V::set(b[r])));
      y = V::fma(s[r], V::set(c[r]), y);
    }
    V::store(tile.output + t * V::kWidth, y);
  }
  for (int64_t r = 0; r < kRows; ++r) V::store(state + r * V::kWidth, s[r]);
}

// As many rows at once as there are registers for, then halves of that.
template <typename V, int64_t kRows>
void scan_all_rows(const Args& a, const Tile<V>& tile, int64_t row, int64_t tokens, int64_t first) {
  for (; first + kRows <= a.states; first += kRows) {
    scan_rows<V, kRows>(a, tile, row, tokens, first);
  }
  if constexpr (kRows > 1) scan_all_rows<V, kRows / 2>(a, tile, row, tokens, first);
}

template <typename V>
void finish(const Args& a, const Tile<V>& tile, int64_t row, int64_t tokens, int64_t channel,
            int64_t lanes) {
  for (int64_t t = 0; t < tokens; ++t) {
    auto y = V::load(tile.output + t * V::kWidth);
    if (a.z != nullptr) {
      const float* z = a.z + (row + t) * a.ldz + channel;
      __builtin_prefetch(z + kPrefetchTokens * a.ldz, 0, 3);
      y = V::mul(y, vector_silu<V>(load_upto<V>(z, lanes)));
    }
    store_upto<V>(a.y + (row + t) * a.channels + channel, y, lanes);
  }
}

// All tokens of a sequence for up to one vector of channels.
template <typename V>
void scan_channels(const Args& a, const Sequence& sequence, int64_t channel, int64_t lanes,
                   const Tile<V>& tile) {
  for (int64_t n = 0; n < a.states; ++n) {
    const int64_t at = n * a.channels + channel;
    V::store(tile.state + n * V::kWidth, load_upto<V>(sequence.state + at, lanes));
    V::store(tile.rates + n * V::kWidth, load_upto<V>(a.rates + at, lanes));
  }
  for (int64_t t = 0; t < sequence.tokens; t += kTokensAtOnce) {
    const int64_t left = sequence.tokens - t;
    const int64_t tokens = left < kTokensAtOnce ? left : kTokensAtOnce;
    const int64_t row = sequence.first_row + t;
    prepare<V>(a, tile, row, tokens, channel, lanes);
    scan_all_rows<V, V::kStateRows>(a, tile, row, tokens, 0);
    finish<V>(a, tile, row, tokens, channel, lanes);
  }
  for (int64_t n = 0; n < a.states; ++n) {
    const auto state = V::load(tile.state + n * V::kWidth);
    store_upto<V>(sequence.state + n * a.channels + channel, state, lanes);
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
    for (int64_t channel = begin; channel < end; channel += V::kWidth) {
      const int64_t lanes = end - channel < V::kWidth ? end - channel : V::kWidth;
      scan_channels<V>(a, sequence, channel, lanes, tile);
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels::scan
