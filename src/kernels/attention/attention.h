// Causal softmax attention over keys and values that lie in memory position by position, for
// prompts and for single tokens, with grouped queries and an optional sliding window. Scores never
// exist as a whole: keys are walked in blocks with a running maximum and sum, so memory does not
// grow with the context.
#pragma once

#include <cstdint>

#include "device/stream.h"
#include "kernels/attention/kv_type.h"

namespace aquatint::kernels {

// What the two products of prompts are made of: scores, their exponentials and sums are float32 in
// any case. kBFloat16 rounds queries, keys, values and exponentials, where the processor has
// instructions for products of such pairs; elsewhere, for single tokens and on GPUs it is kFloat32.
enum class AttentionArithmetic { kFloat32, kBFloat16 };

struct AttentionShape {
  std::int64_t heads;
  std::int64_t kv_heads;  // divides heads; query head h reads kv head h / (heads / kv_heads)
  std::int64_t head_dim;
  float scale;          // multiplies q . k
  std::int64_t window;  // 0: none; else position i sees keys j with i - window < j <= i
  KvType kv = KvType::kF32;
  AttentionArithmetic arithmetic = AttentionArithmetic::kFloat32;
};

// The new tokens of one sequence; their keys and values are in place already.
struct AttentionSequence {
  std::int64_t first_row;  // row of the first new token in q and o
  std::int64_t tokens;
  std::int64_t past;   // positions before them
  const void* keys;    // [past + tokens, kv_heads * kv_head_stride] of the shape's type
  const void* values;  // the same
  const float* key_scales = nullptr;    // of int8: [past + tokens, kv_heads]
  const float* value_scales = nullptr;  // the same
};

// o = softmax(scale * q k^T, causal) v for every sequence and head; q and o are [rows, heads *
// head_dim] and do not overlap. Results do not depend on the number of threads. Error
// kInvalidArgument for sizes that contradict each other or missing arrays.
void attention(const AttentionShape& shape, const AttentionSequence* sequences, std::int64_t count,
               const float* q, float* o);

// The same on the stream's device, where all pointers are but `sequences`, which is the host's and
// no longer needed when it returns. On a GPU heads have at most 2048 values (else error
// kUnsupported), and a call with few queries and many keys takes memory while it is queued, which a
// captured graph would not keep; keys and values are float32 there (else error kUnsupported).
void attention(Stream& stream, const AttentionShape& shape, const AttentionSequence* sequences,
               std::int64_t count, const float* q, float* o);

}  // namespace aquatint::kernels
