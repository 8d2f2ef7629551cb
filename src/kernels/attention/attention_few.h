// A few query rows against their keys, for decoding, written once over the vector type V. Lanes are
// the dimensions of a head: keys and values stream from memory once, in whichever type they are
// cached, shared by all rows of the task. Scales of int8 multiply scores and weights, one for each
// key, not elements.
#pragma once

#include <float.h>
#include <math.h>

#include "kernels/attention/attention_kv.h"
#include "kernels/simd_math.h"

namespace aquatint::kernels {
namespace {

constexpr int64_t kFewKeys = 64;  // keys per block
constexpr int64_t kFewRows = 8;   // most rows
constexpr int kMostRowsTogether = 4;

// kTogether: rows (2 or 4) whose accumulators are in registers together. Kv: of attention_kv.h.
template <typename V, int kTogether, typename Kv>
struct AttentionFew {
  using Reg = typename V::Reg;
  using Element = typename Kv::Element;

  const AttentionTask& task;
  int64_t rows;
  int64_t padded;   // head_dim rounded up to whole vectors
  float* queries;   // [rows, padded], scaled
  float* weighted;  // [rows, padded]
  float* weights;   // [rows, kFewKeys]: scores, then their exponentials
  float* scales;    // [2, kFewKeys] of keys and values, with int8
  float largest[kFewRows];
  float sum[kFewRows];
  float correction[kFewRows];

  static int64_t pad(int64_t head_dim) {
    return (head_dim + V::kWidth - 1) / V::kWidth * V::kWidth;
  }
  static int64_t scratch_floats(int64_t head_dim) {
    return kFewRows * (2 * pad(head_dim) + kFewKeys) + 2 * kFewKeys;
  }

  explicit AttentionFew(const AttentionTask& t)
      : task(t), rows(t.row_end - t.row_begin), padded(pad(t.head_dim)) {
    queries = t.scratch;
    weighted = queries + kFewRows * padded;
    weights = weighted + kFewRows * padded;
    scales = weights + kFewRows * kFewKeys;
    for (int64_t key = 0; key < 2 * kFewKeys; ++key) scales[key] = 0;
  }

  int64_t offset(int64_t r) const {
    const int64_t row = task.row_begin + r;
    return row / task.group * task.token_stride + row % task.group * task.head_dim;
  }

  void start() {
    for (int64_t r = 0; r < rows; ++r) {
      largest[r] = -FLT_MAX;
      sum[r] = 0;
      const float* q = task.q + offset(r);
      for (int64_t i = 0; i < padded; ++i) {
        queries[r * padded + i] = i < task.head_dim ? q[i] * task.scale : 0.0F;
        weighted[r * padded + i] = 0;
      }
    }
  }

  // Scores of four keys for kRows rows from r on.
  template <int kRows>
  void score(const Element* const* k, int64_t r, int64_t column) const {
    Reg dot[kMostRowsTogether][4];
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
      for (int n = 0; n < 4; ++n) dot[m][n] = V::zero();
    }
    const float* q = queries + r * padded;
    const int64_t whole = task.head_dim / V::kWidth * V::kWidth;
    for (int64_t i = 0; i < padded; i += V::kWidth) {
      Reg key[4];
#pragma GCC unroll 8
      for (int n = 0; n < 4; ++n) {
        key[n] = Kv::load(k[n] + i, i < whole ? V::kWidth : task.head_dim - whole);
      }
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) {
        const Reg query = V::load(q + m * padded + i);
#pragma GCC unroll 8
        for (int n = 0; n < 4; ++n) dot[m][n] = V::fma(query, key[n], dot[m][n]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      V::store_sums(weights + (r + m) * kFewKeys + column, dot[m][0], dot[m][1], dot[m][2],
                    dot[m][3]);
    }
  }

  void score_block(int64_t begin, int64_t end) const {
    const auto* keys = static_cast<const Element*>(task.keys);
    for (int64_t key = begin; key < end; key += 4) {
      const Element* k[4];
      for (int n = 0; n < 4; ++n) {
        k[n] = keys + (key + n < end ? key + n : end - 1) * task.kv_stride;
      }

      int64_t r = 0;
      for (; r + kTogether <= rows; r += kTogether) score<kTogether>(k, r, key - begin);
      if (kTogether > 2 && r + 2 <= rows) {
        score<2>(k, r, key - begin);
        r += 2;
      }
      if (r < rows) score<1>(k, r, key - begin);
    }
  }

  void load_scales(int64_t begin, int64_t end) const {
    for (int64_t key = begin; Kv::kScaled && key < end; ++key) {
      scales[key - begin] = task.key_scales[key * task.scale_stride];
      scales[kFewKeys + key - begin] = task.value_scales[key * task.scale_stride];
    }
  }

  void scale_scores(int64_t r) const {
    float* row = weights + r * kFewKeys;
    for (int64_t key = 0; Kv::kScaled && key < kFewKeys; key += V::kWidth) {
      V::store(row + key, V::mul(V::load(row + key), V::load(scales + key)));
    }
  }

  // Hides what row r may not see and what lies behind the end, up to a whole vector.
  void mask(int64_t r, int64_t begin, int64_t end) const {
    const int64_t position = task.past + (task.row_begin + r) / task.group;
    const int64_t last = end - 1 < position ? end - 1 : position;
    float* row = weights + r * kFewKeys;
    for (int64_t key = last + 1 > begin ? last + 1 : begin; key < begin + kFewKeys; ++key) {
      row[key - begin] = -INFINITY;
    }
    if (task.window == 0) return;
    for (int64_t key = begin; key < end && key <= position - task.window; ++key) {
      row[key - begin] = -INFINITY;
    }
  }

  void exponentials(int64_t r, int64_t keys) {
    float* row = weights + r * kFewKeys;
    Reg most = V::set(largest[r]);
    for (int64_t key = 0; key < keys; key += V::kWidth) most = V::max(most, V::load(row + key));
    const float now = V::max_lane(most);
    correction[r] = expf(largest[r] - now);
    Reg total = V::zero();
    for (int64_t key = 0; key < keys; key += V::kWidth) {
      const Reg weight = vector_exp<V>(V::sub(V::load(row + key), V::set(now)));
      total = V::add(total, weight);
      V::store(row + key, Kv::kScaled ? V::mul(weight, V::load(scales + kFewKeys + key)) : weight);
    }
    sum[r] = sum[r] * correction[r] + V::sum(total);
    largest[r] = now;
  }

  // weighted[r..r+kRows)[i..] = correction * weighted + weights * values for kVectors vectors, the
  // last of which has `lanes` lanes.
  template <int kRows, int kVectors>
  void accumulate(const Element* value, int64_t r, int64_t i, int64_t keys, int64_t lanes) const {
    Reg total[kMostRowsTogether][4];
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const Reg shrink = V::set(correction[r + m]);
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) {
        total[m][n] = V::mul(shrink, V::load(weighted + (r + m) * padded + i + n * V::kWidth));
      }
    }
    for (int64_t key = 0; key < keys; ++key) {
      const Element* at = value + key * task.kv_stride + i;
      Reg v[4];
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) {
        v[n] = Kv::load(at + n * V::kWidth, kVectors == 1 ? lanes : V::kWidth);
      }
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) {
        const Reg weight = V::set(weights[(r + m) * kFewKeys + key]);
#pragma GCC unroll 8
        for (int n = 0; n < kVectors; ++n) total[m][n] = V::fma(weight, v[n], total[m][n]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) {
        V::store(weighted + (r + m) * padded + i + n * V::kWidth, total[m][n]);
      }
    }
  }

  template <int kRows>
  void accumulate_rows(const Element* value, int64_t r, int64_t keys) const {
    constexpr int64_t kW = V::kWidth;
    int64_t i = 0;
    for (; i + 4 * kW <= task.head_dim; i += 4 * kW) {
      accumulate<kRows, 4>(value, r, i, keys, kW);
    }
    for (; i < task.head_dim; i += kW) {
      accumulate<kRows, 1>(value, r, i, keys, task.head_dim - i < kW ? task.head_dim - i : kW);
    }
  }

  void finish() const {
    for (int64_t r = 0; r < rows; ++r) {
      float* o = task.o + offset(r);
      float factor = 1.0F / sum[r];
      if (task.largest != nullptr) {
        task.largest[r] = largest[r];
        task.sum[r] = sum[r];
        o = task.weighted + r * task.head_dim;
        factor = 1;
      }
      for (int64_t i = 0; i < task.head_dim; ++i) o[i] = weighted[r * padded + i] * factor;
    }
  }

  void run() {
    start();
    for (int64_t key = task.key_begin; key < task.key_end; key += kFewKeys) {
      const int64_t end = key + kFewKeys < task.key_end ? key + kFewKeys : task.key_end;
      load_scales(key, end);
      score_block(key, end);
      for (int64_t r = 0; r < rows; ++r) {
        scale_scores(r);
        mask(r, key, end);
        exponentials(r, end - key);
      }
      const Element* value = static_cast<const Element*>(task.values) + key * task.kv_stride;
      int64_t r = 0;
      for (; r + kTogether <= rows; r += kTogether) {
        accumulate_rows<kTogether>(value, r, end - key);
      }
      if (kTogether > 2 && r + 2 <= rows) {
        accumulate_rows<2>(value, r, end - key);
        r += 2;
      }
      if (r < rows) accumulate_rows<1>(value, r, end - key);
    }
    finish();
  }
};

// Runs a task on the type that its keys and values have.
template <typename V, int kTogether>
void run_attention_few(const AttentionTask& task) {
  switch (task.kv) {
    case KvType::kF32:
      return AttentionFew<V, kTogether, KvFloats<V>>(task).run();
    case KvType::kBF16:
      return AttentionFew<V, kTogether, KvBf16<V>>(task).run();
    case KvType::kInt8:
      return AttentionFew<V, kTogether, KvInt8<V>>(task).run();
  }
}

}  // namespace
}  // namespace aquatint::kernels
