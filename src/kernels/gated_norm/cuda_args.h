// What one call of the CUDA form of gated_norm.h works on.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

struct GatedNormCudaArgs {
  const float* o = nullptr;     // [vectors, dv]
  const float* gate = nullptr;  // [vectors, dv] or null
  const float* w = nullptr;     // [dv] or null
  float* y = nullptr;           // [vectors, dv]; may be o or gate
  int64_t vectors = 0, dv = 0;
  float eps = 0;
};

}  // namespace aquatint::kernels
