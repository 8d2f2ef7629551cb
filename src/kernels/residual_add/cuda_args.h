// What the CUDA form of residual_add.h works on.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

struct ResidualAddCudaArgs {
  float* hidden = nullptr;
  const float* delta = nullptr;
  int64_t n = 0;
};

}  // namespace aquatint::kernels
