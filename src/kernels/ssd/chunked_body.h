// Internal to kernels/ssd: the chunked form, for prefill. With s_i the sum of the log decays of the
// chunk up to token i, and S the state before it:
//   y_i = e^{s_i} S^T C_i + sum over j <= i of (C_i . B_j) e^{s_i - s_j} delta_j x_j + D x_i
//   S'  = e^{s_last} S + sum over j of B_j (e^{s_last - s_j} delta_j x_j)^T
// All of it is matrix products on one register tile. The products C_i . B_j are those of a group
// and made once for the heads done together; a head multiplies them by its decays, which are formed
// row by row as products of factors <= 1, so nothing can overflow and no digits cancel. D is added
// on the diagonal. With V::kPairs the two products with the state are made of bfloat16 pairs: of
// states 2i and 2i + 1 to read it, of tokens to update it. A pair lies where one float would.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/simd_tile.h"
#include "kernels/ssd/step_size_body.h"

namespace aquatint::kernels::ssd {
namespace {

// Where everything of up to kHeadsAtOnce heads lies in scratch. Rows of B and C are padded so that
// rows of a tile do not fall into the same cache set.
template <typename V>
struct ChunkSpace {
  static constexpr int64_t kTokens = V::kChunk;  // a multiple of V::kRows and V::kWidth
  static constexpr int64_t kCols = 2 * V::kWidth;
  static constexpr int64_t kStride = (kTokens + kCols - 1) / kCols * kCols + 16;

  static constexpr int64_t kTokenPairs = kTokens / 2 + 8;  // stride of b_pairs

  int64_t ld, state_rows, panels, end;
  float *c_rows, *b_rows, *b_columns, *products, *scores, *one_hot;
  float *delta, *decay, *before, *weights, *values, *weighted, *state;
  float *c_pairs, *b_pairs, *state_pairs, *weighted_pairs;  // used with V::kPairs

  // With base == nullptr only `end`, the number of floats, means something.
  ChunkSpace(const Task& task, float* base) {
    ld = (task.states + 15) / 16 * 16 + 16;
    state_rows = (task.states + V::kRows - 1) / V::kRows * V::kRows;
    panels = (task.head_dim + kCols - 1) / kCols;
    end = 0;
    const auto take = [&](int64_t floats) {
      float* at = base == nullptr ? nullptr : base + end;
      end += (floats + 15) / 16 * 16;
      return at;
    };
    c_rows = take(kTokens * ld);              // [token, state]
    b_rows = take(kTokens * ld);              // [token, state], zeros from `states` on
    b_columns = take(task.states * kStride);  // [state, token]
    products = take(kTokens * kStride);       // C_i . B_j
    scores = take(kTokens * kStride);     // of a head: times decays and delta_j, D on the diagonal
    one_hot = take(2 * kTokens + kCols);  // 1 at kTokens, else 0
    delta = take(kTokens);
    decay = take(kTokens);                                     // e^{s_i - s_{i-1}}
    before = take(kTokens);                                    // e^{s_i}
    weights = take(kTokens);                                   // e^{s_last - s_j} delta_j
    values = take(panels * kTokens * kCols);                   // x, [panels, token, kCols]
    weighted = take(panels * kTokens * kCols);                 // weights x
    state = take(kHeadsAtOnce * panels * state_rows * kCols);  // [head, panels, state_rows, kCols]
    const int64_t pairs = V::kPairs ? 1 : 0;
    c_pairs = take(pairs * kTokens * ld / 2);            // [token, states / 2]
    b_pairs = take(pairs * state_rows * kTokenPairs);    // [state, tokens / 2]
    state_pairs = take(pairs * state_rows / 2 * kCols);  // of a panel: [states / 2, kCols]
    weighted_pairs = take(pairs * kTokens / 2 * kCols);  // of a panel: [tokens / 2, kCols]
  }
  float* state_panel(int64_t head, int64_t panel) const {
    return state + (head * panels + panel) * state_rows * kCols;
  }
};

// Rows of at most V::kWidth * 2 columns into a panel and back, zeros beyond them.
template <typename V>
void load_state(const Task& task, const ChunkSpace<V>& space, int64_t head) {
  constexpr int64_t kCols = ChunkSpace<V>::kCols;
  const float* from = task.state + head * task.states * task.head_dim;
  for (int64_t p = 0; p < space.panels; ++p) {
    float* panel = space.state_panel(head - task.head_begin, p);
    for (int64_t n = 0; n < space.state_rows; ++n) {
      for (int64_t e = 0; e < kCols; e += V::kWidth) {
        const int64_t left = task.head_dim - p * kCols - e;
        const bool outside = n >= task.states || left <= 0;
        const float* row = from + n * task.head_dim + p * kCols + e;
        V::store(panel + n * kCols + e, outside ? V::zero() : load_upto<V>(row, left));
      }
    }
  }
}

template <typename V>
void store_state(const Task& task, const ChunkSpace<V>& space, int64_t head) {
  constexpr int64_t kCols = ChunkSpace<V>::kCols;
  float* to = task.state + head * task.states * task.head_dim;
  for (int64_t p = 0; p < space.panels; ++p) {
    const float* panel = space.state_panel(head - task.head_begin, p);
    for (int64_t n = 0; n < task.states; ++n) {
      for (int64_t e = 0; e < kCols; e += V::kWidth) {
        const int64_t left = task.head_dim - p * kCols - e;
        if (left <= 0) break;
        store_upto<V>(to + n * task.head_dim + p * kCols + e, V::load(panel + n * kCols + e), left);
      }
    }
  }
}

// B and C of a group at tokens [first, first + tokens), and the products of their rows.
template <typename V>
void group_products(const Task& task, const ChunkSpace<V>& space, int64_t group, int64_t first,
                    int64_t tokens) {
  using Space = ChunkSpace<V>;
  const int64_t states = task.states;
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t at = (first + t) * task.ld + group * states;
    for (int64_t n = 0; n < space.ld; n += V::kWidth) {
      const int64_t left = states - n;
      __builtin_prefetch(task.c + at + Space::kTokens * task.ld + n, 0, 2);
      __builtin_prefetch(task.b + at + Space::kTokens * task.ld + n, 0, 2);
      V::store(space.c_rows + t * space.ld + n,
               left > 0 ? load_upto<V>(task.c + at + n, left) : V::zero());
      V::store(space.b_rows + t * space.ld + n,
               left > 0 ? load_upto<V>(task.b + at + n, left) : V::zero());
    }
    for (int64_t n = 0; n < states; ++n) {
      space.b_columns[n * Space::kStride + t] = space.b_rows[t * space.ld + n];
    }
  }
  for (int64_t i = 0; i < tokens; i += V::kRows) {
    for (int64_t j = 0; j < i + V::kRows; j += Space::kCols) {
      typename V::Reg acc[V::kRows][2];
      for (auto& row : acc) row[0] = row[1] = V::zero();
      multiply_add<V>(acc, space.c_rows + i * space.ld, space.ld, space.b_columns + j,
                      Space::kStride, states);
      for (int64_t r = 0; r < V::kRows; ++r) {
        V::store(space.products + (i + r) * Space::kStride + j, acc[r][0]);
        V::store(space.products + (i + r) * Space::kStride + j + V::kWidth, acc[r][1]);
      }
    }
  }
}

// acc += a[r][0..depth) * b[0..depth)[2 vectors] of pairs.
template <typename V>
[[gnu::always_inline]] inline void multiply_add_pairs(typename V::Reg (&acc)[V::kRows][2],
                                                      const float* a, int64_t lda, const float* b,
                                                      int64_t ldb, int64_t depth) {
  for (int64_t i = 0; i < depth; ++i, b += ldb) {
    const auto b0 = V::load(b);
    const auto b1 = V::load(b + V::kWidth);
    for (int64_t r = 0; r < V::kRows; ++r) {
      const auto x = V::set(a[r * lda + i]);
      acc[r][0] = V::dot(x, b0, acc[r][0]);
      acc[r][1] = V::dot(x, b1, acc[r][1]);
    }
  }
}

// B and C of a group as pairs; a last token without a partner gets zero for one.
template <typename V>
void pair_group(const ChunkSpace<V>& space, int64_t states, int64_t tokens) {
  using Space = ChunkSpace<V>;
  for (int64_t at = 0; at < tokens * space.ld; at += V::kWidth) {
    V::store_rounded(space.c_pairs + at / 2, V::load(space.c_rows + at));
  }
  for (int64_t n = 0; n < space.state_rows; ++n) {
    if (n < states && tokens < Space::kTokens) {
      space.b_columns[n * Space::kStride + tokens] = 0.0F;
    }
    for (int64_t t = 0; t < Space::kTokens; t += V::kWidth) {
      const auto b = n < states ? V::load(space.b_columns + n * Space::kStride + t) : V::zero();
      V::store_rounded(space.b_pairs + n * Space::kTokenPairs + t / 2, b);
    }
  }
}

// Rows 2i and 2i + 1 of a panel as pairs, zeros from row `rows` on.
template <typename V>
void pair_rows(const float* panel, int64_t rows, float* pairs) {
  constexpr int64_t kCols = ChunkSpace<V>::kCols;
  for (int64_t i = 0; i < rows; i += 2) {
    for (int64_t e = 0; e < kCols; e += V::kWidth) {
      const auto odd = i + 1 < rows ? V::load(panel + (i + 1) * kCols + e) : V::zero();
      V::store(pairs + i / 2 * kCols + e, V::pair(V::load(panel + i * kCols + e), odd));
    }
  }
}

// delta and decay of a head.
template <typename V>
void head_decays(const Task& task, const ChunkSpace<V>& space, int64_t head, int64_t first,
                 int64_t tokens) {
  for (int64_t t = 0; t < tokens; ++t) {
    space.delta[t] = task.dt[(first + t) * task.ld_dt + head];
  }
  const auto bias = V::set(task.dt_bias[head]), rate = V::set(task.rates[head]);
  for (int64_t t = 0; t < tokens; t += V::kWidth) {
    const auto delta = step_size<V>(task, V::load(space.delta + t), bias);
    V::store(space.delta + t, delta);
    V::store(space.decay + t, vector_exp2_decay<V>(V::mul(delta, rate)));
  }
}

// The lower triangle of a head's scores, and its decays to the beginning and the end of the chunk.
// A row of decays is the one before times the token's own, and 1 on the diagonal.
template <typename V>
void head_scores(const Task& task, const ChunkSpace<V>& space, int64_t head, int64_t tokens) {
  using Space = ChunkSpace<V>;
  constexpr auto kVectors = static_cast<size_t>(Space::kTokens / V::kWidth);
  const auto skip = task.skip_per_channel ? V::zero() : V::set(task.skip[head]);
  typename V::Reg decays[kVectors], delta[kVectors];
  for (size_t v = 0; v < kVectors; ++v) {
    decays[v] = V::zero();
    delta[v] = V::load(space.delta + static_cast<int64_t>(v) * V::kWidth);
  }
  float before = 1.0F;
  for (int64_t i = 0; i < tokens; ++i) {
    const auto decay = V::set(space.decay[i]);
    before *= space.decay[i];
    space.before[i] = before;
    for (size_t v = 0; v < kVectors; ++v) {
      const int64_t j = static_cast<int64_t>(v) * V::kWidth;
      const auto diagonal = V::load(space.one_hot + Space::kTokens - i + j);
      decays[v] = V::fma(decays[v], decay, diagonal);
      const auto product = V::load(space.products + i * Space::kStride + j);
      const auto score = V::mul(V::mul(decays[v], delta[v]), product);
      V::store(space.scores + i * Space::kStride + j, V::fma(skip, diagonal, score));
    }
  }
  for (size_t v = 0; v < kVectors; ++v) {
    V::store(space.weights + static_cast<int64_t>(v) * V::kWidth, V::mul(decays[v], delta[v]));
  }
}

// x of a head as panels, as it is and weighted: rows lie far apart in memory, panels must not.
template <typename V>
void pack_values(const Task& task, const ChunkSpace<V>& space, int64_t head, int64_t first,
                 int64_t tokens) {
  using Space = ChunkSpace<V>;
  for (int64_t t = 0; t < tokens; ++t) {
    const float* x = task.x + (first + t) * task.ld + head * task.head_dim;
    const float* y = task.y + ((first + t) * task.heads + head) * task.head_dim;
    const auto weight = V::set(space.weights[t]);
    for (int64_t e = 0; e < space.panels * Space::kCols; e += V::kWidth) {
      const int64_t left = task.head_dim - e;
      // Rows lie further apart than hardware looks ahead: ask for those of the next chunk, and for
      // where this one's outputs will go.
      __builtin_prefetch(x + Space::kTokens * task.ld + e, 0, 2);
      __builtin_prefetch(y + e, 1, 3);
      const int64_t at = (e / Space::kCols * Space::kTokens + t) * Space::kCols + e % Space::kCols;
      const auto value = left > 0 ? load_upto<V>(x + e, left) : V::zero();
      V::store(space.values + at, value);
      V::store(space.weighted + at, V::mul(weight, value));
    }
  }
}

// Outputs of one panel of a head's columns.
template <typename V>
void panel_outputs(const Task& task, const ChunkSpace<V>& space, int64_t head, int64_t first,
                   int64_t tokens, int64_t p) {
  using Space = ChunkSpace<V>;
  const float* state = space.state_panel(head - task.head_begin, p);
  const float* values = space.values + p * Space::kTokens * Space::kCols;
  const int64_t column = p * Space::kCols, width = task.head_dim - column;
  const int64_t stride = task.heads * task.head_dim;
  float* y = task.y + first * stride + head * task.head_dim + column;
  const float* skip = task.skip + head * task.head_dim + column;
  if constexpr (V::kPairs) pair_rows<V>(state, task.states, space.state_pairs);
  for (int64_t n = 0; n < tokens; n += V::kRows) {
    const int64_t depth = tokens < n + V::kRows ? tokens : n + V::kRows;
    typename V::Reg acc[V::kRows][2];
    for (auto& row : acc) row[0] = row[1] = V::zero();
    if constexpr (V::kPairs) {
      multiply_add_pairs<V>(acc, space.c_pairs + n * space.ld / 2, space.ld / 2, space.state_pairs,
                            Space::kCols, (task.states + 1) / 2);
    } else {
      multiply_add<V>(acc, space.c_rows + n * space.ld, space.ld, state, Space::kCols, task.states);
    }
    for (int64_t r = 0; r < V::kRows; ++r) {
      const auto before = V::set(space.before[n + r]);
      acc[r][0] = V::mul(acc[r][0], before);
      acc[r][1] = V::mul(acc[r][1], before);
    }
    multiply_add<V>(acc, space.scores + n * Space::kStride, Space::kStride, values, Space::kCols,
                    depth);
    for (int64_t r = 0; r < depth - n; ++r) {
      for (int64_t v = 0; v < 2; ++v) {
        const int64_t left = width - v * V::kWidth;
        if (left <= 0) break;
        auto out = acc[r][v];
        if (task.skip_per_channel) {
          const auto x = V::load(values + (n + r) * Space::kCols + v * V::kWidth);
          out = V::fma(load_upto<V>(skip + v * V::kWidth, left), x, out);
        }
        store_upto<V>(y + (n + r) * stride + v * V::kWidth, out, left);
      }
    }
  }
}

template <typename V>
void panel_state(const ChunkSpace<V>& space, float* state, int64_t tokens, int64_t p) {
  using Space = ChunkSpace<V>;
  const float* weighted = space.weighted + p * Space::kTokens * Space::kCols;
  const auto decay = V::set(space.before[tokens - 1]);
  if constexpr (V::kPairs) pair_rows<V>(weighted, tokens, space.weighted_pairs);
  for (int64_t n = 0; n < space.state_rows; n += V::kRows) {
    float* rows = state + n * Space::kCols;
    typename V::Reg acc[V::kRows][2];
    for (int64_t r = 0; r < V::kRows; ++r) {
      acc[r][0] = V::mul(decay, V::load(rows + r * Space::kCols));
      acc[r][1] = V::mul(decay, V::load(rows + r * Space::kCols + V::kWidth));
    }
    if constexpr (V::kPairs) {
      multiply_add_pairs<V>(acc, space.b_pairs + n * Space::kTokenPairs, Space::kTokenPairs,
                            space.weighted_pairs, Space::kCols, (tokens + 1) / 2);
    } else {
      multiply_add_transposed<V>(acc, space.b_rows + n, space.ld, weighted, Space::kCols, tokens);
    }
    for (int64_t r = 0; r < V::kRows; ++r) {
      V::store(rows + r * Space::kCols, acc[r][0]);
      V::store(rows + r * Space::kCols + V::kWidth, acc[r][1]);
    }
  }
}

// Heads of one group, at most kHeadsAtOnce.
template <typename V>
void run_heads(const Task& task, const ChunkSpace<V>& space) {
  using Space = ChunkSpace<V>;
  const int64_t group = task.head_begin / task.heads_per_group;
  for (int64_t head = task.head_begin; head < task.head_end; ++head) {
    load_state<V>(task, space, head);
  }
  for (int64_t first = 0; first < task.tokens; first += Space::kTokens) {
    const int64_t left = task.tokens - first;
    const int64_t tokens = left < Space::kTokens ? left : Space::kTokens;
    group_products<V>(task, space, group, first, tokens);
    if constexpr (V::kPairs) pair_group<V>(space, task.states, tokens);
    for (int64_t head = task.head_begin; head < task.head_end; ++head) {
      head_decays<V>(task, space, head, first, tokens);
      head_scores<V>(task, space, head, tokens);
      pack_values<V>(task, space, head, first, tokens);
      for (int64_t p = 0; p < space.panels; ++p) {
        panel_outputs<V>(task, space, head, first, tokens, p);
        panel_state<V>(space, space.state_panel(head - task.head_begin, p), tokens, p);
      }
    }
  }
  for (int64_t head = task.head_begin; head < task.head_end; ++head) {
    store_state<V>(task, space, head);
  }
}

template <typename V>
int64_t chunked_scratch(const Task& task) noexcept {
  return ChunkSpace<V>(task, nullptr).end * static_cast<int64_t>(sizeof(float));
}

template <typename V>
void chunked_run(const Task& task, void* scratch) noexcept {
  const ChunkSpace<V> space(task, static_cast<float*>(scratch));
  for (int64_t i = 0; i < 2 * V::kChunk + 2 * V::kWidth; ++i) {
    space.one_hot[i] = i == V::kChunk ? 1.0F : 0.0F;
  }
  Task part = task;
  for (int64_t head = task.head_begin; head < task.head_end; head = part.head_end) {
    const int64_t group_end = (head / task.heads_per_group + 1) * task.heads_per_group;
    part.head_begin = head;
    part.head_end = head + kHeadsAtOnce < group_end ? head + kHeadsAtOnce : group_end;
    if (part.head_end > task.head_end) part.head_end = task.head_end;
    run_heads<V>(part, space);
  }
}

}  // namespace
}  // namespace aquatint::kernels::ssd
