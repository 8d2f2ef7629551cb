// What the CUDA form of round_bf16.h works on.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

struct RoundBf16CudaArgs {
  const float* x = nullptr;
  uint16_t* y = nullptr;
  int64_t n = 0;
};

}  // namespace aquatint::kernels
