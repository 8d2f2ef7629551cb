// How a key-value cache holds its numbers. Plain data, shared by layers, kernels and options.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

// kInt8: one scale per position and kv head, value = int8 * scale.
enum class KvType { kF32, kBF16, kInt8 };

// Elements from one head of a position to the next: int8 heads are padded with zeros to whole words
// of eight.
constexpr int64_t kv_head_stride(KvType type, int64_t head_dim) {
  return type == KvType::kInt8 ? (head_dim + 7) / 8 * 8 : head_dim;
}

constexpr int64_t kv_element_size(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kBF16 ? 2 : 1;
}

// Bytes of the keys and values of one position, scales included.
constexpr int64_t kv_position_bytes(KvType type, int64_t kv_heads, int64_t head_dim) {
  const int64_t scale = type == KvType::kInt8 ? 4 : 0;
  return 2 * kv_heads * (kv_head_stride(type, head_dim) * kv_element_size(type) + scale);
}

}  // namespace aquatint::kernels
