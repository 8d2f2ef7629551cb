// Many query rows against their keys, written once over the vector type V. Lanes are query rows:
// with the queries transposed once, both products are outer products that broadcast elements of K
// and V as they lie in memory, and the running softmax needs no sum across lanes. Blocks of a cache
// of another type become float32 first, which costs a twentieth of what is then done with them.
#pragma once

#include <float.h>
#include <math.h>

#include "kernels/attention/attention_kv.h"
#include "kernels/simd_math.h"

namespace aquatint::kernels {
namespace {

constexpr int64_t kTileKeys = 64;  // keys per block
constexpr int kTileVectors = 3;    // vectors of query rows
// Arrays of registers have this size whatever is used of them: GCC 12 warns of sign conversion
// where an array bound is a template parameter of type int.
constexpr int kMostUnrolled = 8;

// kUnroll: keys, or dimensions, whose accumulators are in registers together.
template <typename V, int kUnroll>
struct AttentionTile {
  using Reg = typename V::Reg;
  static constexpr int64_t kLanes = kTileVectors * V::kWidth;

  const AttentionTask& task;
  int64_t rows;
  float* queries;     // [head_dim, kLanes], scaled
  float* weighted;    // [head_dim, kLanes]
  float* weights;     // [kTileKeys, kLanes]: scores, then their exponentials
  float* largest;     // [kLanes]
  float* sum;         // [kLanes]
  float* correction;  // [kLanes]
  float* first_key;   // [kLanes], first and last visible key counted from task.key_begin
  float* last_key;    // [kLanes]
  float* converted;   // [2, kTileKeys, head_dim]: keys and values that are not float32
  // Of the block at hand.
  const float* block_keys = nullptr;
  const float* block_values = nullptr;
  int64_t block_stride = 0;

  static int64_t scratch_floats(int64_t head_dim) {
    return (2 * head_dim + kTileKeys + 5) * kLanes + 2 * kTileKeys * head_dim;
  }

  explicit AttentionTile(const AttentionTask& t) : task(t), rows(t.row_end - t.row_begin) {
    queries = t.scratch;
    weighted = queries + t.head_dim * kLanes;
    weights = weighted + t.head_dim * kLanes;
    largest = weights + kTileKeys * kLanes;
    sum = largest + kLanes;
    correction = sum + kLanes;
    first_key = correction + kLanes;
    last_key = first_key + kLanes;
    converted = last_key + kLanes;
  }

  void load_block(int64_t begin, int64_t end) {
    if (task.kv == KvType::kF32) {
      block_stride = task.kv_stride;
      block_keys = static_cast<const float*>(task.keys) + begin * task.kv_stride;
      block_values = static_cast<const float*>(task.values) + begin * task.kv_stride;
      return;
    }
    float* keys = converted;
    float* values = converted + kTileKeys * task.head_dim;
    if (task.kv == KvType::kBF16) {
      kv_block<V, KvBf16<V>>(task, task.keys, nullptr, begin, end, keys);
      kv_block<V, KvBf16<V>>(task, task.values, nullptr, begin, end, values);
    } else {
      kv_block<V, KvInt8<V>>(task, task.keys, task.key_scales, begin, end, keys);
      kv_block<V, KvInt8<V>>(task, task.values, task.value_scales, begin, end, values);
    }
    block_stride = task.head_dim;
    block_keys = keys;
    block_values = values;
  }

  int64_t offset(int64_t lane) const {
    const int64_t row = task.row_begin + lane;
    return row / task.group * task.token_stride + row % task.group * task.head_dim;
  }

  void start() {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      largest[lane] = -FLT_MAX;
      sum[lane] = 0;
      first_key[lane] = -1;
      last_key[lane] = -1;
      if (lane >= rows) {
        for (int64_t i = 0; i < task.head_dim; ++i) queries[i * kLanes + lane] = 0;
        continue;
      }
      const int64_t position = task.past + (task.row_begin + lane) / task.group;
      last_key[lane] = static_cast<float>(position - task.key_begin);
      if (task.window > 0) first_key[lane] = last_key[lane] - static_cast<float>(task.window - 1);
      const float* q = task.q + offset(lane);
      for (int64_t i = 0; i < task.head_dim; ++i) queries[i * kLanes + lane] = q[i] * task.scale;
    }
    for (int64_t i = 0; i < task.head_dim * kLanes; ++i) weighted[i] = 0;
  }

  // weights[key] = scaled scores of keys [begin, end). Past the end the last key is repeated; its
  // weights are never read.
  template <int kVectors>
  void score(int64_t begin, int64_t end) const {
    for (int64_t key = begin; key < end; key += kUnroll) {
      const float* k[kMostUnrolled];
#pragma GCC unroll 8
      for (int m = 0; m < kUnroll; ++m) {
        k[m] = block_keys + ((key + m < end ? key + m : end - 1) - begin) * block_stride;
      }
      Reg dot[kMostUnrolled][kTileVectors];
#pragma GCC unroll 8
      for (int m = 0; m < kUnroll; ++m) {
#pragma GCC unroll 8
        for (int n = 0; n < kVectors; ++n) dot[m][n] = V::zero();
      }
      for (int64_t i = 0; i < task.head_dim; ++i) {
        Reg q[kTileVectors];
#pragma GCC unroll 8
        for (int n = 0; n < kVectors; ++n) q[n] = V::load(queries + i * kLanes + n * V::kWidth);
#pragma GCC unroll 8
        for (int m = 0; m < kUnroll; ++m) {
          const Reg element = V::set(k[m][i]);
#pragma GCC unroll 8
          for (int n = 0; n < kVectors; ++n) dot[m][n] = V::fma(element, q[n], dot[m][n]);
        }
      }
      float* out = weights + (key - begin) * kLanes;
#pragma GCC unroll 8
      for (int m = 0; m < kUnroll; ++m) {
#pragma GCC unroll 8
        for (int n = 0; n < kVectors; ++n) V::store(out + m * kLanes + n * V::kWidth, dot[m][n]);
      }
    }
  }

  void mask(int64_t begin, int64_t end) const {
    const Reg hidden = V::set(-INFINITY);
    for (int64_t key = begin; key < end; ++key) {
      float* row = weights + (key - begin) * kLanes;
      const Reg at = V::set(static_cast<float>(key - task.key_begin));
      for (int64_t lane = 0; lane < rows; lane += V::kWidth) {
        V::store(row + lane, V::inside(V::load(row + lane), at, V::load(first_key + lane),
                                       V::load(last_key + lane), hidden));
      }
    }
  }

  // Scores become e^(score - largest); largest, sum and correction follow.
  void exponentials(int64_t keys) const {
    for (int64_t lane = 0; lane < rows; lane += V::kWidth) {
      const Reg before = V::load(largest + lane);
      Reg most = before;
      for (int64_t key = 0; key < keys; ++key) {
        most = V::max(most, V::load(weights + key * kLanes + lane));
      }
      const Reg shrink = vector_exp<V>(V::sub(before, most));
      Reg total = V::mul(V::load(sum + lane), shrink);
      for (int64_t key = 0; key < keys; ++key) {
        float* at = weights + key * kLanes + lane;
        const Reg weight = vector_exp<V>(V::sub(V::load(at), most));
        V::store(at, weight);
        total = V::add(total, weight);
      }
      V::store(largest + lane, most);
      V::store(sum + lane, total);
      V::store(correction + lane, shrink);
    }
  }

  // weighted[i..i+kDims) = correction * weighted + sum over the keys of weights * value.
  template <int kVectors, int kDims>
  void accumulate(int64_t i, int64_t keys) const {
    Reg total[kMostUnrolled][kTileVectors];
#pragma GCC unroll 8
    for (int n = 0; n < kVectors; ++n) {
      const Reg shrink = V::load(correction + n * V::kWidth);
#pragma GCC unroll 8
      for (int m = 0; m < kDims; ++m) {
        total[m][n] = V::mul(shrink, V::load(weighted + (i + m) * kLanes + n * V::kWidth));
      }
    }
    for (int64_t key = 0; key < keys; ++key) {
      Reg weight[kTileVectors];
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n)
        weight[n] = V::load(weights + key * kLanes + n * V::kWidth);
      const float* v = block_values + key * block_stride + i;
#pragma GCC unroll 8
      for (int m = 0; m < kDims; ++m) {
        const Reg element = V::set(v[m]);
#pragma GCC unroll 8
        for (int n = 0; n < kVectors; ++n) total[m][n] = V::fma(element, weight[n], total[m][n]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < kDims; ++m) {
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) {
        V::store(weighted + (i + m) * kLanes + n * V::kWidth, total[m][n]);
      }
    }
  }

  template <int kVectors>
  void walk() {
    const int64_t first_position = task.past + task.row_begin / task.group;
    const int64_t last_position = task.past + (task.row_end - 1) / task.group;
    for (int64_t key = task.key_begin; key < task.key_end; key += kTileKeys) {
      const int64_t end = key + kTileKeys < task.key_end ? key + kTileKeys : task.key_end;
      load_block(key, end);
      score<kVectors>(key, end);
      const bool ahead = end - 1 > first_position;
      const bool behind = task.window > 0 && key <= last_position - task.window;
      if (ahead || behind) mask(key, end);
      exponentials(end - key);
      int64_t i = 0;
      for (; i + kUnroll <= task.head_dim; i += kUnroll) {
        accumulate<kVectors, kUnroll>(i, end - key);
      }
      for (; i < task.head_dim; ++i) accumulate<kVectors, 1>(i, end - key);
    }
  }

  void finish() const {
    for (int64_t lane = 0; lane < rows; ++lane) {
      float* o = task.o + offset(lane);
      float factor = 1.0F / sum[lane];
      if (task.largest != nullptr) {
        task.largest[lane] = largest[lane];
        task.sum[lane] = sum[lane];
        o = task.weighted + lane * task.head_dim;
        factor = 1;
      }
      for (int64_t i = 0; i < task.head_dim; ++i) o[i] = weighted[i * kLanes + lane] * factor;
    }
  }

  void run() {
    start();
    if (rows <= V::kWidth) {
      walk<1>();
    } else if (rows <= 2 * V::kWidth) {
      walk<2>();
    } else {
      walk<kTileVectors>();
    }
    finish();
  }
};

}  // namespace
}  // namespace aquatint::kernels
