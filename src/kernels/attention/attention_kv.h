// Elements of a key-value cache as vectors of float32, whatever their type. V is a Vec of
// simd_avx2.h or simd_avx512.h with load_bf16 and load_int8 added by the instruction set's file.
#pragma once

#include "kernels/attention/attention_task.h"

namespace aquatint::kernels {
namespace {

// load(): the first n lanes (all if n is larger); others are zero. Scaled types leave the scale of
// the position to the caller.
template <typename V>
struct KvFloats {
  using Element = float;
  static constexpr bool kScaled = false;
  static typename V::Reg load(const float* p, int64_t n) {
    return n >= V::kWidth ? V::load(p) : V::load_first(p, n);
  }
};

template <typename V>
struct KvBf16 {
  using Element = uint16_t;
  static constexpr bool kScaled = false;
  static typename V::Reg load(const uint16_t* p, int64_t n) { return V::load_bf16(p, n); }
};

template <typename V>
struct KvInt8 {
  using Element = int8_t;
  static constexpr bool kScaled = true;
  static typename V::Reg load(const int8_t* p, int64_t n) { return V::load_int8(p, n); }
};

// Rows [begin, end) of keys or values as float32: to [end - begin, head_dim].
template <typename V, typename Kv>
void kv_block(const AttentionTask& task, const void* cache, const float* scales, int64_t begin,
              int64_t end, float* to) {
  for (int64_t row = begin; row < end; ++row, to += task.head_dim) {
    const auto* from = static_cast<const typename Kv::Element*>(cache) + row * task.kv_stride;
    const auto scale = V::set(Kv::kScaled ? scales[row * task.scale_stride] : 1.0F);
    for (int64_t i = 0; i < task.head_dim; i += V::kWidth) {
      const int64_t n = task.head_dim - i;
      auto v = Kv::load(from + i, n);
      if (Kv::kScaled) v = V::mul(v, scale);
      if (n >= V::kWidth) {
        V::store(to + i, v);
      } else {
        V::store_first(to + i, v, n);
      }
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels
