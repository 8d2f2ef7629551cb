// What one call of the CUDA form of attention.h works on. The sequences travel inside it, so that
// nothing must be copied to the GPU first.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

// Sequences of few query rows split their keys into parts of this size. Fixed, because the parts
// determine the rounding.
constexpr int64_t kCudaKeysPerPart = 256;
// A sequence of at most so many query rows per kv head (tokens times heads of a group) has few.
constexpr int64_t kCudaFewRows = 16;
// Larger heads are done as if rows were few; tiles of them would not fit in shared memory.
constexpr int64_t kCudaTileHeadDim = 256;
constexpr int64_t kCudaMostHeadDim = 2048;

struct AttentionCudaSequence {
  int64_t first_row = 0, tokens = 0, past = 0;
  const float* keys = nullptr;    // [past + tokens, kv_heads * head_dim]
  const float* values = nullptr;  // [past + tokens, kv_heads * head_dim]
  // With more than one part, what each contributes goes to records from `partial` on: for every
  // part, for every kv head, for every query row of it.
  int64_t parts = 1, partial = 0;
};

struct AttentionCudaArgs {
  static constexpr int64_t kMostSequences = 64;

  const float* q = nullptr;  // [rows, heads * head_dim]
  float* o = nullptr;        // [rows, heads * head_dim]
  int64_t heads = 0, kv_heads = 0, head_dim = 0, window = 0;
  float scale = 0;
  // Per record the largest score and the sum of e^(score - largest), and the weighted sum of
  // values.
  float* part_stats = nullptr;     // [records, 2]
  float* part_weighted = nullptr;  // [records, head_dim]
  int64_t count = 0;
  AttentionCudaSequence sequences[kMostSequences];
};

}  // namespace aquatint::kernels
