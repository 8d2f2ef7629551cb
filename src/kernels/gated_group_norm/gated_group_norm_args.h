// What one call of gated_group_norm.h works on, as its variants see it.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

enum class GateOrder { kGateFirst, kNormFirst, kGateOnly };

struct GatedGroupNormArgs {
  GateOrder order;
  const float* x;     // [rows, groups * size]
  const float* gate;  // [rows, groups * size], rows ld_gate apart
  int64_t ld_gate;
  const float* w;  // [groups * size]
  int64_t groups;
  int64_t size;
  float eps;
  float* y;  // [rows, groups * size]
};

// Rows [begin, end).
void gated_group_norm_reference(const GatedGroupNormArgs& args, int64_t begin,
                                int64_t end) noexcept;
void gated_group_norm_avx2(const GatedGroupNormArgs& args, int64_t begin, int64_t end) noexcept;
void gated_group_norm_avx512(const GatedGroupNormArgs& args, int64_t begin, int64_t end) noexcept;

}  // namespace aquatint::kernels
