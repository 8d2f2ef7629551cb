// What one call of the CUDA form of rope.h works on.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

struct RopeCudaArgs {
  float* x = nullptr;  // [rows, heads, 2 * half], rotated in place
  int64_t rows = 0, heads = 0, half = 0;
  const int32_t* positions = nullptr;  // [rows]
  const float* inv_freq = nullptr;     // [half]
};

}  // namespace aquatint::kernels
