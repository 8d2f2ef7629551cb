// Internal to kernels/ssd: one token at a time, the form for decoding. A token reads and writes the
// whole state once, in memory order; everything else hides behind that traffic.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/ssd/step_size_body.h"

namespace aquatint::kernels::ssd {
namespace {

constexpr int64_t kVectorsPerStep = 4;

// What one head has at one token.
struct HeadToken {
  const float* x;
  const float* b;
  const float* c;
  const float* skip;  // of the head's first channel
  float* y;
  float* state;  // [states, head_dim]
  float delta, decay;
};

// kVectors vectors of columns from column e, of which the last has `lanes` lanes.
template <typename V, int64_t kVectors>
void step_columns(const Task& task, const HeadToken& at, int64_t e, int64_t lanes) {
  constexpr auto kCount = static_cast<size_t>(kVectors);
  typename V::Reg input[kCount], y[kCount];
  const auto lanes_of = [&](int64_t v) { return v + 1 < kVectors ? V::kWidth : lanes; };
  for (int64_t v = 0; v < kVectors; ++v) {
    const int64_t column = e + v * V::kWidth, n = lanes_of(v);
    const auto x = load_upto<V>(at.x + column, n);
    const auto skip =
        task.skip_per_channel ? load_upto<V>(at.skip + column, n) : V::set(at.skip[0]);
    input[v] = V::mul(V::set(at.delta), x);
    y[v] = V::mul(skip, x);
  }
  const auto decay = V::set(at.decay);
  float* row = at.state + e;
  for (int64_t n = 0; n < task.states; ++n, row += task.head_dim) {
    const auto b = V::set(at.b[n]), c = V::set(at.c[n]);
    for (int64_t v = 0; v < kVectors; ++v) {
      float* state = row + v * V::kWidth;
      const auto s = V::fma(load_upto<V>(state, lanes_of(v)), decay, V::mul(input[v], b));
      store_upto<V>(state, s, lanes_of(v));
      y[v] = V::fma(s, c, y[v]);
    }
  }
  for (int64_t v = 0; v < kVectors; ++v) {
    store_upto<V>(at.y + e + v * V::kWidth, y[v], lanes_of(v));
  }
}

template <typename V>
void step_head(const Task& task, const HeadToken& at) {
  constexpr int64_t kStrip = kVectorsPerStep * V::kWidth;
  int64_t e = 0;
  for (; e + kStrip <= task.head_dim; e += kStrip) {
    step_columns<V, kVectorsPerStep>(task, at, e, V::kWidth);
  }
  for (; e < task.head_dim; e += V::kWidth) {
    const int64_t left = task.head_dim - e;
    step_columns<V, 1>(task, at, e, left < V::kWidth ? left : V::kWidth);
  }
}

template <typename V>
int64_t recurrent_scratch(const Task& task) noexcept {
  return 2 * whole_vectors<V>(task.head_end - task.head_begin) *
         static_cast<int64_t>(sizeof(float));
}

template <typename V>
void recurrent_run(const Task& task, void* scratch) noexcept {
  const int64_t heads = task.head_end - task.head_begin, dim = task.head_dim;
  float* deltas = static_cast<float*>(scratch);
  float* decays = deltas + whole_vectors<V>(heads);
  for (int64_t t = 0; t < task.tokens; ++t) {
    for (int64_t h = 0; h < heads; h += V::kWidth) {
      const int64_t first = task.head_begin + h, n = heads - h;
      const auto delta = step_size<V>(task, load_upto<V>(task.dt + t * task.ld_dt + first, n),
                                      load_upto<V>(task.dt_bias + first, n));
      V::store(deltas + h, delta);
      const auto rate = load_upto<V>(task.rates + first, n);
      V::store(decays + h, vector_exp2_decay<V>(V::mul(delta, rate)));
    }
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t head = task.head_begin + h, group = head / task.heads_per_group;
      const float* row = task.x + t * task.ld;
      step_head<V>(task, {row + head * dim, task.b + t * task.ld + group * task.states,
                          task.c + t * task.ld + group * task.states,
                          task.skip + (task.skip_per_channel ? head * dim : head),
                          task.y + (t * task.heads + head) * dim,
                          task.state + head * task.states * dim, deltas[h], decays[h]});
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels::ssd
