// What one call of gated_norm.h works on, as its variants see it: vectors of dv values, one after
// another.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

struct GatedNormArgs {
  const float* o;     // [vectors, dv]
  const float* gate;  // [vectors, dv] or null
  const float* w;     // [dv] or null
  int64_t dv;
  float eps;
  float* y;  // [vectors, dv]
};

void gated_norm_reference(const GatedNormArgs& args, int64_t begin, int64_t end) noexcept;
void gated_norm_avx2(const GatedNormArgs& args, int64_t begin, int64_t end) noexcept;
void gated_norm_avx512(const GatedNormArgs& args, int64_t begin, int64_t end) noexcept;

}  // namespace aquatint::kernels
