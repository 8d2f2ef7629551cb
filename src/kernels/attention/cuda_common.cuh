// What the CUDA forms of attention share: where rows and keys lie, and who sees what. Query row r
// of a kv head is head r % group of it, token r / group, as in attention_task.h.
#pragma once

#include <cuda_runtime.h>
#include <float.h>

#include "kernels/attention/cuda_args.h"
#include "kernels/cuda_host.cuh"

namespace aquatint::kernels::cuda_attention {

constexpr int kWarp = 32;

struct Rows {
  int64_t group, count;  // rows of one kv head

  __host__ __device__ Rows(const AttentionCudaArgs& a, const AttentionCudaSequence& s)
      : group(a.heads / a.kv_heads), count(s.tokens * group) {}

  // Element 0 of a row in q and o.
  __device__ int64_t offset(const AttentionCudaArgs& a, const AttentionCudaSequence& s,
                            int64_t kv_head, int64_t row) const {
    const int64_t token = s.first_row + row / group;
    return (token * a.heads + kv_head * group + row % group) * a.head_dim;
  }
  __device__ int64_t position(const AttentionCudaSequence& s, int64_t row) const {
    return s.past + row / group;
  }
};

// The first position that `position` sees.
__host__ __device__ inline int64_t first_seen(int64_t position, int64_t window) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}

// Whether every row of q, o, keys and values can be read by fours.
inline bool by_fours(const AttentionCudaArgs& a) {
  bool result = a.head_dim % 4 == 0 && cuda::aligned16(a.q) && cuda::aligned16(a.o);
  for (int64_t s = 0; s < a.count; ++s) {
    result =
        result && cuda::aligned16(a.sequences[s].keys) && cuda::aligned16(a.sequences[s].values);
  }
  return result;
}

}  // namespace aquatint::kernels::cuda_attention
