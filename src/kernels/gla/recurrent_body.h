// Internal to kernels/gla: one token at a time, the form for decoding. A token reads and writes the
// whole state once, and everything else hides behind that traffic: decay, outer product and output
// are done while a vector of state is in a register. Rows of the state are contiguous, so eight
// rows stream at once.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/gla/gla_kernels.h"
#include "kernels/gla/log_decay_body.h"

namespace aquatint::kernels::gla {

inline constexpr int64_t kRowsAtOnce = 8;

// One token's operands: decay and scaled queries live in scratch, [dk] and [group, ld].
struct TokenRow {
  const float* decay;
  const float* q;
  const float* k;
  const float* v;
  float* o;
  int64_t ld;
};

// Rows d .. d+kRows of the state, `n` columns from column e: n = V::kWidth, or less with kPart.
template <typename V, int64_t kRows, bool kPart>
[[gnu::always_inline]] inline void recurrent_step(const HeadTask& task, const TokenRow& row,
                                                  int64_t d, int64_t e, int64_t n) {
  const auto load = [&](const float* p) { return kPart ? V::load_first(p, n) : V::load(p); };
  const auto store = [&](float* p, typename V::Reg x) {
    kPart ? V::store_first(p, x, n) : V::store(p, x);
  };
  const auto v = load(row.v + e);
  typename V::Reg s[static_cast<size_t>(kRows)];
  auto sum = load(row.o + e);
  for (int64_t r = 0; r < kRows; ++r) {
    float* state = task.state + (d + r) * task.state_stride + e;
    const auto added = V::mul(V::set(row.k[d + r]), v);
    s[r] = V::fma(load(state), V::set(row.decay[d + r]), added);
    store(state, s[r]);
    // Hardware stops at the page, and these rows span several: ask for the next ones.
    __builtin_prefetch(state + kRows * task.state_stride, 1, 3);
    sum = V::fma(V::set(row.q[d + r]), s[r], sum);
  }
  store(row.o + e, sum);
  for (int64_t c = 1; c < task.group; ++c) {
    const float* q = row.q + c * row.ld + d;
    float* o = row.o + c * task.dv + e;
    auto other = load(o);
    for (int64_t r = 0; r < kRows; ++r) other = V::fma(V::set(q[r]), s[r], other);
    store(o, other);
  }
}

template <typename V, int64_t kRows>
void recurrent_rows(const HeadTask& task, const TokenRow& row, int64_t d) noexcept {
  int64_t e = 0;
  for (; e + V::kWidth <= task.columns; e += V::kWidth) {
    recurrent_step<V, kRows, false>(task, row, d, e, V::kWidth);
  }
  if (e < task.columns) recurrent_step<V, kRows, true>(task, row, d, e, task.columns - e);
}

template <typename V>
constexpr int64_t recurrent_ld(int64_t dk) {
  return (dk + V::kWidth - 1) / V::kWidth * V::kWidth;
}

template <typename V>
int64_t recurrent_scratch(const HeadTask& task) noexcept {
  return (task.group + 1) * recurrent_ld<V>(task.dk) * static_cast<int64_t>(sizeof(float));
}

template <typename V>
void recurrent_run(const HeadTask& task, void* scratch) noexcept {
  const int64_t ld = recurrent_ld<V>(task.dk);
  float* decay = static_cast<float*>(scratch);
  float* scaled = decay + ld;
  for (int64_t t = 0; t < task.tokens; ++t) {
    exp_row<V>(task.g + t * task.k_stride, task.dk, decay);
    for (int64_t c = 0; c < task.group; ++c) {
      const float* q = task.q + t * task.q_stride + c * task.dk;
      for (int64_t d = 0; d < task.dk; ++d) scaled[c * ld + d] = task.scale * q[d];
      float* o = task.o + t * task.o_stride + c * task.dv;
      for (int64_t e = 0; e < task.columns; ++e) o[e] = 0.0F;
    }
    const TokenRow row = {decay,
                          scaled,
                          task.k + t * task.k_stride,
                          task.v + t * task.v_stride,
                          task.o + t * task.o_stride,
                          ld};
    int64_t d = 0;
    for (; d + kRowsAtOnce <= task.dk; d += kRowsAtOnce) {
      recurrent_rows<V, kRowsAtOnce>(task, row, d);
    }
    for (; d < task.dk; ++d) recurrent_rows<V, 1>(task, row, d);
  }
}

}  // namespace aquatint::kernels::gla
