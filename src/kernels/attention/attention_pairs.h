// Many query rows against their keys in products of bfloat16 pairs, for AVX512-BF16: both products
// go at twice the rate of float32, their sums are float32. As in attention_tile.h lanes are query
// rows, but several tiles of them share what a block of keys and values is turned into: pairs of
// neighbouring dimensions of a key, and of neighbouring positions of a value. Scores are in units
// that make their exponentials powers of two.
#pragma once

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/attention/attention_kv.h"

namespace aquatint::kernels {
namespace {

constexpr int64_t kPairKeys = 64;  // keys per block
constexpr int64_t kPairTiles = 8;  // tiles of query rows that share a block
constexpr int kPairVectors = 3;    // vectors of query rows per tile
constexpr int kPairUnroll = 8;     // keys, or dimensions, whose sums are in registers together
constexpr float kLog2OfE = 1.44269504F;

// V: as in attention_kv.h, with dot, round_pairs and interleave for pairs.
template <typename V>
struct AttentionPairs {
  using Reg = typename V::Reg;
  static constexpr int64_t kLanes = kPairVectors * V::kWidth;

  const AttentionTask& task;
  int64_t rows;
  int64_t pairs;       // of dimensions, rounded up
  int64_t key_stride;  // pairs from one key of the block to the next
  int64_t value_stride;
  uint32_t* keys;     // [kPairKeys, key_stride]
  uint32_t* values;   // [kPairKeys / 2, value_stride]
  uint32_t* queries;  // [kPairTiles, pairs, kLanes], scaled
  float* weighted;    // [kPairTiles, head_dim, kLanes]
  float* largest;     // [kPairTiles, kLanes]
  float* sum;         // [kPairTiles, kLanes]
  float* first_key;   // [kPairTiles, kLanes], counted from task.key_begin, as is the next
  float* last_key;    // [kPairTiles, kLanes]
  float* correction;  // [kLanes]
  float* scores;      // [kPairKeys, kLanes]
  uint32_t* weights;  // [kPairKeys / 2, kLanes]

  static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
  static int64_t scratch_floats(int64_t head_dim) {
    const int64_t key_pairs = round_up((head_dim + 1) / 2, V::kWidth);
    const int64_t blocks = kPairKeys * key_pairs + kPairKeys / 2 * round_up(head_dim, V::kWidth);
    const int64_t tiles = kPairTiles * ((head_dim + 1) / 2 + head_dim + 4);
    return blocks + (tiles + 1 + kPairKeys + kPairKeys / 2) * kLanes;
  }

  explicit AttentionPairs(const AttentionTask& t)
      : task(t),
        rows(t.row_end - t.row_begin),
        pairs((t.head_dim + 1) / 2),
        key_stride(round_up(pairs, V::kWidth)),
        value_stride(round_up(t.head_dim, V::kWidth)) {
    float* next = t.scratch;
    const auto take = [&](int64_t n) {
      float* taken = next;
      next += n;
      return taken;
    };
    const auto take_pairs = [&](int64_t n) { return reinterpret_cast<uint32_t*>(take(n)); };
    keys = take_pairs(kPairKeys * key_stride);
    values = take_pairs(kPairKeys / 2 * value_stride);
    queries = take_pairs(kPairTiles * pairs * kLanes);
    weighted = take(kPairTiles * t.head_dim * kLanes);
    largest = take(kPairTiles * kLanes);
    sum = take(kPairTiles * kLanes);
    first_key = take(kPairTiles * kLanes);
    last_key = take(kPairTiles * kLanes);
    correction = take(kLanes);
    scores = take(kPairKeys * kLanes);
    weights = take_pairs(kPairKeys / 2 * kLanes);
  }

  int64_t tile_rows(int64_t tile) const {
    const int64_t left = rows - tile * kLanes;
    return left < kLanes ? left : kLanes;
  }
  int64_t position(int64_t row) const { return task.past + (task.row_begin + row) / task.group; }
  int64_t offset(int64_t r) const {
    const int64_t row = task.row_begin + r;
    return row / task.group * task.token_stride + row % task.group * task.head_dim;
  }

  void start() {
    const int64_t lanes = round_up(rows, kLanes);
    const Reg scale = V::set(task.scale * kLog2OfE);
    memset(weighted, 0, static_cast<size_t>(lanes * task.head_dim) * sizeof(float));
    for (int64_t lane = 0; lane < lanes; ++lane) {
      largest[lane] = -FLT_MAX;
      sum[lane] = 0;
      first_key[lane] = -1;
      last_key[lane] = -1;
      uint32_t* to = queries + lane / kLanes * pairs * kLanes + lane % kLanes;
      if (lane >= rows) {
        for (int64_t i = 0; i < pairs; ++i) to[i * kLanes] = 0;
        continue;
      }
      last_key[lane] = static_cast<float>(position(lane) - task.key_begin);
      if (task.window > 0) first_key[lane] = last_key[lane] - static_cast<float>(task.window - 1);
      const float* from = task.q + offset(lane);
      for (int64_t i = 0; i < task.head_dim; i += 2 * V::kWidth) {
        const int64_t left = task.head_dim - i;
        const Reg low = KvFloats<V>::load(from + i, left);
        const Reg high = left > V::kWidth
                             ? KvFloats<V>::load(from + i + V::kWidth, left - V::kWidth)
                             : V::zero();
        uint32_t rounded[V::kWidth];
        V::store_pairs(rounded, V::round_pairs(V::mul(low, scale), V::mul(high, scale)));
        const int64_t n = (left + 1) / 2 < V::kWidth ? (left + 1) / 2 : V::kWidth;
        for (int64_t pair = 0; pair < n; ++pair) to[(i / 2 + pair) * kLanes] = rounded[pair];
      }
    }
  }

  // A row of the cache as vectors of float32.
  template <typename Kv>
  struct Row {
    const typename Kv::Element* from;
    Reg scale;
    int64_t size;

    Row(const AttentionTask& t, const void* cache, const float* scales, int64_t position)
        : from(static_cast<const typename Kv::Element*>(cache) + position * t.kv_stride),
          scale(V::set(Kv::kScaled ? scales[position * t.scale_stride] : 1.0F)),
          size(t.head_dim) {}
    Reg at(int64_t i) const {
      if (i >= size) return V::zero();
      const Reg v = Kv::load(from + i, size - i);
      return Kv::kScaled ? V::mul(v, scale) : v;
    }
    // The row is in another page than its neighbours, so nothing else asks for it in time.
    void prefetch(int64_t stride) const {
      const auto* p = reinterpret_cast<const char*>(from + stride);
      for (int64_t i = 0; i < size * static_cast<int64_t>(sizeof(*from)); i += 64) {
        __builtin_prefetch(p + i);
      }
    }
  };

  // Past the end the last key is repeated, whose weights are 0 or never read; values there are 0.
  template <typename Kv>
  void load_block(int64_t begin, int64_t end) const {
    const int64_t next = end < task.key_end ? kPairKeys * task.kv_stride : 0;
    for (int64_t key = begin; key < end; ++key) {
      const Row<Kv> row(task, task.keys, task.key_scales, key);
      row.prefetch(next);
      uint32_t* to = keys + (key - begin) * key_stride;
      for (int64_t i = 0; i < task.head_dim; i += 2 * V::kWidth) {
        V::store_pairs(to + i / 2, V::round_pairs(row.at(i), row.at(i + V::kWidth)));
      }
    }
    for (int64_t key = begin; key < end; key += 2) {
      const Row<Kv> even(task, task.values, task.value_scales, key);
      const bool pair = key + 1 < end;
      const Row<Kv> odd(task, task.values, task.value_scales, pair ? key + 1 : key);
      even.prefetch(next);
      odd.prefetch(next);
      uint32_t* to = values + (key - begin) / 2 * value_stride;
      for (int64_t i = 0; i < task.head_dim; i += V::kWidth) {
        V::store_pairs(to + i, V::interleave(even.at(i), pair ? odd.at(i) : V::zero()));
      }
    }
  }

  // sums[m][n] += the products of pairs: of `depth` broadcast ones at x[m] + j * step with the
  // vectors of `lanes`.
  template <int kVectors, int kCount>
  static void multiply(Reg (&sums)[kPairUnroll][kPairVectors], const uint32_t* const* x,
                       int64_t step, const uint32_t* lanes, int64_t depth) {
    for (int64_t j = 0; j < depth; ++j, lanes += kLanes) {
      Reg lane[kPairVectors];
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) lane[n] = V::load_pairs(lanes + n * V::kWidth);
#pragma GCC unroll 8
      for (int m = 0; m < kCount; ++m) {
        const Reg pair = V::set_pair(x[m][j * step]);
#pragma GCC unroll 8
        for (int n = 0; n < kVectors; ++n) sums[m][n] = V::dot(pair, lane[n], sums[m][n]);
      }
    }
  }

  template <int kVectors>
  void score(int64_t tile, int64_t count) const {
    for (int64_t key = 0; key < count; key += kPairUnroll) {
      Reg sums[kPairUnroll][kPairVectors];
      const uint32_t* x[kPairUnroll];
#pragma GCC unroll 8
      for (int m = 0; m < kPairUnroll; ++m) {
        x[m] = keys + (key + m < count ? key + m : count - 1) * key_stride;
#pragma GCC unroll 8
        for (int n = 0; n < kVectors; ++n) sums[m][n] = V::zero();
      }
      multiply<kVectors, kPairUnroll>(sums, x, 1, queries + tile * pairs * kLanes, pairs);
#pragma GCC unroll 8
      for (int m = 0; m < kPairUnroll; ++m) {
#pragma GCC unroll 8
        for (int n = 0; n < kVectors; ++n) {
          V::store(scores + (key + m) * kLanes + n * V::kWidth, sums[m][n]);
        }
      }
    }
  }

  void mask(int64_t tile, int64_t begin, int64_t end) const {
    const Reg hidden = V::set(-INFINITY);
    const float* first = first_key + tile * kLanes;
    const float* last = last_key + tile * kLanes;
    for (int64_t key = begin; key < end; ++key) {
      float* row = scores + (key - begin) * kLanes;
      const Reg at = V::set(static_cast<float>(key - task.key_begin));
      for (int64_t lane = 0; lane < tile_rows(tile); lane += V::kWidth) {
        V::store(row + lane, V::inside(V::load(row + lane), at, V::load(first + lane),
                                       V::load(last + lane), hidden));
      }
    }
  }

  // 2^x for x <= 0 with a relative error of 4e-6, far below the rounding of the result.
  static Reg power_of_two(Reg x) {
    x = V::max(V::set(-150.0F), x);
    const Reg n = V::round(x);
    const Reg r = V::sub(x, n);
    Reg p = V::set(0.00966636837F);
    p = V::fma(p, r, V::set(0.0559219755F));
    p = V::fma(p, r, V::set(0.240223497F));
    p = V::fma(p, r, V::set(0.693121016F));
    p = V::fma(p, r, V::set(1.0F));
    return V::scale(p, n);
  }

  // Scores become pairs of weights 2^(score - largest); largest, sum and correction follow.
  void exponentials(int64_t tile, int64_t count) const {
    for (int64_t lane = 0; lane < tile_rows(tile); lane += V::kWidth) {
      float* top = largest + tile * kLanes + lane;
      float* total_at = sum + tile * kLanes + lane;
      const Reg before = V::load(top);
      Reg most = before;
      for (int64_t key = 0; key < count; ++key) {
        most = V::max(most, V::load(scores + key * kLanes + lane));
      }
      const Reg shrink = power_of_two(V::sub(before, most));
      Reg total = V::mul(V::load(total_at), shrink);
      for (int64_t key = 0; key < count; key += 2) {
        const float* at = scores + key * kLanes + lane;
        const Reg even = power_of_two(V::sub(V::load(at), most));
        const Reg odd =
            key + 1 < count ? power_of_two(V::sub(V::load(at + kLanes), most)) : V::zero();
        V::store_pairs(weights + key / 2 * kLanes + lane, V::interleave(even, odd));
        total = V::add(total, V::add(even, odd));
      }
      V::store(top, most);
      V::store(total_at, total);
      V::store(correction + lane, shrink);
    }
  }

  template <int kVectors, int kDims>
  void accumulate(int64_t tile, int64_t i, int64_t count) const {
    float* to = weighted + (tile * task.head_dim + i) * kLanes;
    Reg sums[kPairUnroll][kPairVectors];
    const uint32_t* x[kPairUnroll];
#pragma GCC unroll 8
    for (int m = 0; m < kDims; ++m) {
      x[m] = values + i + m;
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) {
        sums[m][n] =
            V::mul(V::load(correction + n * V::kWidth), V::load(to + m * kLanes + n * V::kWidth));
      }
    }
    multiply<kVectors, kDims>(sums, x, value_stride, weights, (count + 1) / 2);
#pragma GCC unroll 8
    for (int m = 0; m < kDims; ++m) {
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) V::store(to + m * kLanes + n * V::kWidth, sums[m][n]);
    }
  }

  template <int kVectors>
  void attend(int64_t tile, int64_t begin, int64_t end) const {
    const int64_t first = position(tile * kLanes);
    const int64_t last = position(tile * kLanes + tile_rows(tile) - 1);
    if (begin > last || (task.window > 0 && end <= first - task.window + 1)) return;
    if (end > last + 1) end = last + 1;
    score<kVectors>(tile, end - begin);
    const bool ahead = end - 1 > first;
    const bool behind = task.window > 0 && begin <= last - task.window;
    if (ahead || behind) mask(tile, begin, end);
    exponentials(tile, end - begin);
    int64_t i = 0;
    for (; i + kPairUnroll <= task.head_dim; i += kPairUnroll) {
      accumulate<kVectors, kPairUnroll>(tile, i, end - begin);
    }
    for (; i < task.head_dim; ++i) accumulate<kVectors, 1>(tile, i, end - begin);
  }

  void finish() const {
    for (int64_t lane = 0; lane < rows; ++lane) {
      const float* from = weighted + lane / kLanes * task.head_dim * kLanes + lane % kLanes;
      float* o = task.o + offset(lane);
      const float factor = 1.0F / sum[lane];
      for (int64_t i = 0; i < task.head_dim; ++i) o[i] = from[i * kLanes] * factor;
    }
  }

  void run() {
    start();
    for (int64_t key = task.key_begin; key < task.key_end; key += kPairKeys) {
      const int64_t end = key + kPairKeys < task.key_end ? key + kPairKeys : task.key_end;
      switch (task.kv) {
        case KvType::kF32:
          load_block<KvFloats<V>>(key, end);
          break;
        case KvType::kBF16:
          load_block<KvBf16<V>>(key, end);
          break;
        case KvType::kInt8:
          load_block<KvInt8<V>>(key, end);
          break;
      }
      for (int64_t tile = 0; tile * kLanes < rows; ++tile) {
        if (tile_rows(tile) <= V::kWidth) {
          attend<1>(tile, key, end);
        } else if (tile_rows(tile) <= 2 * V::kWidth) {
          attend<2>(tile, key, end);
        } else {
          attend<kPairVectors>(tile, key, end);
        }
      }
    }
    finish();
  }
};

}  // namespace
}  // namespace aquatint::kernels
