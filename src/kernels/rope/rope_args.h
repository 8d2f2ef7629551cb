// What one call of rope.h works on, as its variants see it.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

struct RopeArgs {
  float* x;  // [rows, heads, 2 * half]
  int64_t heads;
  int64_t half;
  const int32_t* positions;  // [rows]
  const float* inv_freq;     // [half]
};

void rope_reference(const RopeArgs& args, int64_t begin, int64_t end) noexcept;
void rope_avx2(const RopeArgs& args, int64_t begin, int64_t end) noexcept;
void rope_avx512(const RopeArgs& args, int64_t begin, int64_t end) noexcept;

}  // namespace aquatint::kernels
