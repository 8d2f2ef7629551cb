// How the token of one row of logits is chosen. Plain data, because CUDA sources include it.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

struct SampleRow {
  float temperature = 0;         // 0: the likeliest token
  float top_p = 1;               // above 0; 1 keeps all
  float min_p = 0;               // below 1; 0 keeps all
  float repetition_penalty = 1;  // above 0; 1 for none
  int64_t top_k = 0;             // 0 keeps all
  uint64_t random = 0;           // evenly distributed bits that decide the draw
  // The tokens that the penalty weakens are seen[first_seen] on, each once. Those that are not
  // below `allowed` are passed over.
  int64_t first_seen = 0, seen = 0;
};

}  // namespace aquatint::kernels
