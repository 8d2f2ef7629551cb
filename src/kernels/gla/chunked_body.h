// Internal to kernels/gla: the chunked form, for prefill. Four matrix products per chunk, all
// through one register-blocked multiply; what makes them exact for any gate is that every decay
// between two tokens is formed as a product of factors exp(g) <= 1, never as exp(G_i) times
// exp(-G_j):
//   A    = (q e^{G_i - G_n}) (k e^{G_n - G_j})^T   per block of kRows tokens starting after n, j <=
//   n o    = (q e^{G}) S + A v S'   = e^{G_last} S + (k e^{G_last - G_j})^T v
// The scaled keys are kept up to date from block to block, so the last of them are those of S'.
// Products of 0 stay 0, so log decays of -inf need no care.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/gla/gla_kernels.h"
#include "kernels/gla/log_decay_body.h"
#include "kernels/simd_tile.h"

namespace aquatint::kernels::gla {

// Where everything of one head lies in scratch, and how wide it is. Rows of dk floats are padded so
// that rows of a block do not fall into the same cache set.
template <typename V>
struct ChunkSpace {
  static constexpr int64_t kRows = V::kRows;
  static constexpr int64_t kTokens = V::kChunk;  // a multiple of kRows
  static constexpr int64_t kCols = 2 * V::kWidth;
  static constexpr int64_t kKeyStride = kTokens + 16;  // of k_scaled, [dk_rows, kKeyStride]
  static constexpr int64_t kScoreStride = (kTokens + kCols - 1) / kCols * kCols + 16;

  int64_t ld, dk_rows, panels, end;
  float *state, *decay, *q_raw, *q_block, *q_chunk, *k_raw, *k_block, *k_scaled, *before, *block;
  float *scores, *values;

  // With base == nullptr only `end`, the number of floats, means something.
  ChunkSpace(const HeadTask& task, float* base) {
    ld = (task.dk + 15) / 16 * 16 + 16;
    dk_rows = (task.dk + kRows - 1) / kRows * kRows;
    panels = (task.columns + kCols - 1) / kCols;
    end = 0;
    const auto take = [&](int64_t floats) {
      float* at = base == nullptr ? nullptr : base + end;
      end += (floats + 15) / 16 * 16;
      return at;
    };
    state = take(panels * dk_rows * kCols);              // [panels, dk_rows, kCols]
    decay = take(kRows * ld);                            // exp g of the block
    q_raw = take(kRows * ld);                            // the block's queries, zero padded
    q_block = take(task.group * kRows * ld);             // scale q e^{G_i - G_n}
    q_chunk = take(task.group * kTokens * ld);           // scale q e^{G_i}
    k_raw = take(kRows * ld);                            // the block's keys, zero padded
    k_block = take(kRows * ld);                          // k e^{G_end - G_j} within the block
    k_scaled = take(dk_rows * kKeyStride);               // [dk, token]: k e^{G_now - G_j}
    before = take(ld);                                   // e^{G} up to the current block
    block = take(ld);                                    // e^{G} of the current block
    scores = take(task.group * kTokens * kScoreStride);  // A, lower triangle
    values = take(panels * kTokens * kCols);             // [panels, kTokens, kCols]
  }
};

template <typename V>
void copy_panels(const HeadTask& task, const ChunkSpace<V>& space) noexcept {
  constexpr int64_t kCols = ChunkSpace<V>::kCols;
  for (int64_t p = 0; p < space.panels; ++p) {
    float* panel = space.state + p * space.dk_rows * kCols;
    const int64_t width = task.columns - p * kCols < kCols ? task.columns - p * kCols : kCols;
    for (int64_t d = 0; d < space.dk_rows * kCols; d += V::kWidth) {
      if (width < kCols || d >= task.dk * kCols) V::store(panel + d, V::zero());
    }
    for (int64_t d = 0; d < task.dk; ++d) {
      const float* row = task.state + d * task.state_stride + p * kCols;
      for (int64_t e = 0; e < width; ++e) panel[d * kCols + e] = row[e];
    }
  }
}

template <typename V>
void copy_back(const HeadTask& task, const ChunkSpace<V>& space) noexcept {
  constexpr int64_t kCols = ChunkSpace<V>::kCols;
  for (int64_t p = 0; p < space.panels; ++p) {
    const float* panel = space.state + p * space.dk_rows * kCols;
    const int64_t width = task.columns - p * kCols < kCols ? task.columns - p * kCols : kCols;
    for (int64_t d = 0; d < task.dk; ++d) {
      float* row = task.state + d * task.state_stride + p * kCols;
      for (int64_t e = 0; e < width; ++e) row[e] = panel[d * kCols + e];
    }
  }
}

// kRows rows of n floats, of which `valid` exist; the rest and the ends of the rows become zero.
template <typename V>
void copy_rows(const float* from, int64_t stride, int64_t valid, int64_t n, float* to,
               int64_t ld) noexcept {
  for (int64_t r = 0; r < V::kRows; ++r) {
    for (int64_t d = 0; d < n; d += V::kWidth) {
      const float* at = from + r * stride + d;
      const auto x = r < valid ? load_upto<V>(at, n - d) : V::zero();
      V::store(to + r * ld + d, x);
    }
  }
}

// Keys of the block scaled to its end, and the decay over the whole block.
template <typename V>
void scale_block_keys(const ChunkSpace<V>& space, int64_t dk) noexcept {
  for (int64_t d = 0; d < dk; d += V::kWidth) {
    auto after = V::set(1.0F);
    for (int64_t r = V::kRows - 1; r >= 0; --r) {
      V::store(space.k_block + r * space.ld + d,
               V::mul(V::load(space.k_raw + r * space.ld + d), after));
      after = V::mul(after, V::load(space.decay + r * space.ld + d));
    }
    V::store(space.block + d, after);
  }
}

// Queries of the block scaled from its start and from the start of the chunk.
template <typename V>
void scale_block_queries(const ChunkSpace<V>& space, int64_t dk, float scale, float* q_block,
                         float* q_chunk) noexcept {
  for (int64_t d = 0; d < dk; d += V::kWidth) {
    const auto before = V::load(space.before + d);
    auto since = V::set(scale);
    for (int64_t r = 0; r < V::kRows; ++r) {
      since = V::mul(since, V::load(space.decay + r * space.ld + d));
      const auto q = V::mul(V::load(space.q_raw + r * space.ld + d), since);
      V::store(q_block + r * space.ld + d, q);
      V::store(q_chunk + r * space.ld + d, V::mul(q, before));
    }
  }
}

// Columns kFirst .. kLast-1 of the block's own triangle: each key decays on its way down the rows.
template <typename V, int64_t kFirst, int64_t kLast>
void diagonal_columns(const ChunkSpace<V>& space, int64_t dk, float scale, float* scores) noexcept {
  constexpr int64_t kRows = V::kRows;
  typename V::Reg acc[static_cast<size_t>(kLast - kFirst)][V::kRows];
  for (auto& column : acc) {
    for (auto& x : column) x = V::zero();
  }
  for (int64_t d = 0; d < dk; d += V::kWidth) {
    for (int64_t j = kFirst; j < kLast; ++j) {
      auto key = V::load(space.k_raw + j * space.ld + d);
      for (int64_t i = j; i < kRows; ++i) {
        if (i > j) key = V::mul(key, V::load(space.decay + i * space.ld + d));
        acc[j - kFirst][i] =
            V::fma(V::load(space.q_raw + i * space.ld + d), key, acc[j - kFirst][i]);
      }
    }
  }
  for (int64_t j = kFirst; j < kLast; ++j) {
    for (int64_t i = 0; i < kRows; ++i) {
      scores[i * ChunkSpace<V>::kScoreStride + j] =
          i < j ? 0.0F : scale * V::sum(acc[j - kFirst][i]);
    }
  }
}

// Scores of the block's rows against the first n tokens of the chunk.
template <typename V>
void block_scores(const ChunkSpace<V>& space, int64_t dk, int64_t n, const float* q_block,
                  float* scores) noexcept {
  using Space = ChunkSpace<V>;
  for (int64_t column = 0; column < n; column += Space::kCols) {
    typename V::Reg acc[V::kRows][2];
    for (auto& row : acc) row[0] = row[1] = V::zero();
    multiply_add<V>(acc, q_block, space.ld, space.k_scaled + column, Space::kKeyStride, dk);
    for (int64_t r = 0; r < V::kRows; ++r) {
      V::store(scores + r * Space::kScoreStride + column, acc[r][0]);
      V::store(scores + r * Space::kScoreStride + column + V::kWidth, acc[r][1]);
    }
  }
}

// Moves the n keys scaled so far on to the end of this block and appends the block's own.
template <typename V>
void append_keys(const ChunkSpace<V>& space, int64_t dk, int64_t n) noexcept {
  constexpr int64_t kStride = ChunkSpace<V>::kKeyStride;
  for (int64_t d = 0; d < dk; ++d) {
    float* keys = space.k_scaled + d * kStride;
    const auto decay = V::set(space.block[d]);
    for (int64_t j = 0; j < n; j += V::kWidth) V::store(keys + j, V::mul(V::load(keys + j), decay));
    for (int64_t r = 0; r < V::kRows; ++r) keys[n + r] = space.k_block[r * space.ld + d];
  }
  for (int64_t d = 0; d < dk; d += V::kWidth) {
    V::store(space.before + d, V::mul(V::load(space.before + d), V::load(space.block + d)));
  }
}

// Everything about tokens [first, first + tokens) that does not depend on v or the state.
template <typename V>
void prepare_chunk(const HeadTask& task, const ChunkSpace<V>& space, int64_t first,
                   int64_t tokens) noexcept {
  using Space = ChunkSpace<V>;
  const int64_t dk = task.dk;
  for (int64_t d = 0; d < dk; d += V::kWidth) V::store(space.before + d, V::set(1.0F));
  for (int64_t n = 0; n < tokens; n += V::kRows) {
    const int64_t valid = tokens - n < V::kRows ? tokens - n : V::kRows;
    const int64_t t = first + n;
    copy_rows<V>(task.k + t * task.k_stride, task.k_stride, valid, dk, space.k_raw, space.ld);
    copy_rows<V>(task.g + t * task.k_stride, task.k_stride, valid, dk, space.decay, space.ld);
    for (int64_t r = 0; r < V::kRows; ++r) {
      exp_row<V>(space.decay + r * space.ld, dk, space.decay + r * space.ld);
    }
    scale_block_keys<V>(space, dk);
    for (int64_t c = 0; c < task.group; ++c) {
      float* q_block = space.q_block + c * V::kRows * space.ld;
      float* q_chunk = space.q_chunk + (c * Space::kTokens + n) * space.ld;
      float* scores = space.scores + (c * Space::kTokens + n) * Space::kScoreStride;
      copy_rows<V>(task.q + t * task.q_stride + c * dk, task.q_stride, valid, dk, space.q_raw,
                   space.ld);
      scale_block_queries<V>(space, dk, task.scale, q_block, q_chunk);
      block_scores<V>(space, dk, n, q_block, scores);
      diagonal_columns<V, 0, V::kDiagonalSplit>(space, dk, task.scale, scores + n);
      diagonal_columns<V, V::kDiagonalSplit, V::kRows>(space, dk, task.scale, scores + n);
    }
    append_keys<V>(space, dk, n);
  }
}

template <typename V>
[[gnu::always_inline]] inline void store_pair(float* to, const typename V::Reg (&x)[2], int64_t n) {
  store_upto<V>(to, x[0], n);
  if (n > V::kWidth) store_upto<V>(to + V::kWidth, x[1], n - V::kWidth);
}

// One panel of columns: outputs of the chunk from the incoming state.
template <typename V>
void panel_outputs(const HeadTask& task, const ChunkSpace<V>& space, int64_t first, int64_t tokens,
                   int64_t p) noexcept {
  using Space = ChunkSpace<V>;
  const float* state = space.state + p * space.dk_rows * Space::kCols;
  const float* values = space.values + p * Space::kTokens * Space::kCols;
  const int64_t column = p * Space::kCols;
  const int64_t width = task.columns - column;
  for (int64_t c = 0; c < task.group; ++c) {
    for (int64_t n = 0; n < tokens; n += V::kRows) {
      const float* q = space.q_chunk + (c * Space::kTokens + n) * space.ld;
      const float* scores = space.scores + (c * Space::kTokens + n) * Space::kScoreStride;
      const int64_t depth = tokens < n + V::kRows ? tokens : n + V::kRows;
      float* o = task.o + (first + n) * task.o_stride + c * task.dv + column;
      typename V::Reg acc[V::kRows][2];
      for (auto& row : acc) row[0] = row[1] = V::zero();
      multiply_add<V>(acc, q, space.ld, state, Space::kCols, task.dk);
      multiply_add<V>(acc, scores, Space::kScoreStride, values, Space::kCols, depth);
      for (int64_t r = 0; r < depth - n; ++r, o += task.o_stride) {
        store_pair<V>(o, acc[r], width);
      }
    }
  }
}

template <typename V>
void panel_state(const ChunkSpace<V>& space, int64_t tokens, int64_t p) noexcept {
  using Space = ChunkSpace<V>;
  float* state = space.state + p * space.dk_rows * Space::kCols;
  const float* values = space.values + p * Space::kTokens * Space::kCols;
  for (int64_t d = 0; d < space.dk_rows; d += V::kRows) {
    float* rows = state + d * Space::kCols;
    typename V::Reg acc[V::kRows][2];
    for (int64_t r = 0; r < V::kRows; ++r) {
      const auto decay = V::set(space.before[d + r]);
      acc[r][0] = V::mul(decay, V::load(rows + r * Space::kCols));
      acc[r][1] = V::mul(decay, V::load(rows + r * Space::kCols + V::kWidth));
    }
    multiply_add<V>(acc, space.k_scaled + d * Space::kKeyStride, Space::kKeyStride, values,
                    Space::kCols, tokens);
    for (int64_t r = 0; r < V::kRows; ++r) {
      V::store(rows + r * Space::kCols, acc[r][0]);
      V::store(rows + r * Space::kCols + V::kWidth, acc[r][1]);
    }
  }
}

// The chunk's values as panels, row by row: rows lie far apart in memory, panels must not.
template <typename V>
void pack_values(const HeadTask& task, const ChunkSpace<V>& space, int64_t first,
                 int64_t tokens) noexcept {
  using Space = ChunkSpace<V>;
  for (int64_t j = 0; j < tokens; ++j) {
    const float* v = task.v + (first + j) * task.v_stride;
    float* to = space.values + j * Space::kCols;
    for (int64_t e = 0; e < space.panels * Space::kCols; e += Space::kCols) {
      for (int64_t i = e; i < e + Space::kCols; i += V::kWidth) {
        V::store(to + i - e, i < task.columns ? load_upto<V>(v + i, task.columns - i) : V::zero());
      }
      to += Space::kTokens * Space::kCols;
    }
  }
}

template <typename V>
void run_chunk(const HeadTask& task, const ChunkSpace<V>& space, int64_t first,
               int64_t tokens) noexcept {
  prepare_chunk<V>(task, space, first, tokens);
  pack_values<V>(task, space, first, tokens);
  for (int64_t p = 0; p < space.panels; ++p) {
    panel_outputs<V>(task, space, first, tokens, p);
    panel_state<V>(space, tokens, p);
  }
}

template <typename V>
int64_t chunked_scratch(const HeadTask& task) noexcept {
  return ChunkSpace<V>(task, nullptr).end * static_cast<int64_t>(sizeof(float));
}

template <typename V>
void chunked_run(const HeadTask& task, void* scratch) noexcept {
  const ChunkSpace<V> space(task, static_cast<float*>(scratch));
  for (int64_t d = task.dk; d < space.dk_rows; ++d) {  // rows that exist only as padding
    space.before[d] = 0.0F;
    for (int64_t j = 0; j < space.kKeyStride; ++j) space.k_scaled[d * space.kKeyStride + j] = 0.0F;
  }
  copy_panels<V>(task, space);
  for (int64_t t = 0; t < task.tokens; t += V::kChunk) {
    run_chunk<V>(task, space, t, task.tokens - t < V::kChunk ? task.tokens - t : V::kChunk);
  }
  copy_back<V>(task, space);
}

}  // namespace aquatint::kernels::gla
