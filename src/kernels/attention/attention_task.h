// The piece of an attention that its variants compute: some query rows of one sequence and one kv
// head against a range of keys. The rows of a task share their keys, whatever head or token they
// are of.
#pragma once

#include <stdint.h>

#include "kernels/attention/kv_type.h"

namespace aquatint::kernels {

struct AttentionTask {
  // Query row r (row_begin <= r < row_end) is head r % group of the kv head, token r / group.
  const float* q;        // of token 0, first head of the kv head
  float* o;              // laid out as q
  int64_t token_stride;  // between tokens in q and o
  int64_t group;         // query heads per kv head
  int64_t row_begin, row_end;

  KvType kv;
  const void* keys;  // of position 0 of the kv head
  const void* values;
  int64_t kv_stride;        // between positions, in elements
  const float* key_scales;  // of position 0 of the kv head, with int8
  const float* value_scales;
  int64_t scale_stride;  // between positions
  int64_t past;          // token t is at position past + t
  int64_t key_begin, key_end;

  int64_t head_dim;
  float scale;
  int64_t window;  // 0: none

  // Null: o receives the result. Otherwise o stays as it is and what this range of keys contributes
  // is left here for merging: per row the largest score, the sum of e^(score - largest) and,
  // unnormalized, the weighted sum of values.
  float* largest;   // [row_end - row_begin]
  float* sum;       // [row_end - row_begin]
  float* weighted;  // [row_end - row_begin, head_dim]

  float* scratch;  // the variant's scratch_floats(head_dim), 64-byte aligned
};

using AttentionFn = void (*)(const AttentionTask& task) noexcept;

struct AttentionKernel {
  int64_t tile_rows;  // most rows `tile` takes
  int64_t few_rows;   // up to so many rows `few` is faster
  int64_t (*scratch_floats)(int64_t head_dim) noexcept;
  AttentionFn tile;
  AttentionFn few;
};

extern const AttentionKernel kAttentionReference;
extern const AttentionKernel kAttentionAvx2;
extern const AttentionKernel kAttentionAvx512;
// Its tiles multiply pairs of bfloat16.
extern const AttentionKernel kAttentionAvx512Bf16;

}  // namespace aquatint::kernels
