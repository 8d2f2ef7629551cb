// The kernel bodies of layer_norm, two per instruction set. Plain declarations only, so that files
// compiled for an instruction set can include it.
#pragma once

#include <cstdint>

namespace aquatint::kernels::detail {

// Pointers are to whole matrices as in layer_norm.h; fields a form has no use for are ignored.
struct LayerNormArgs {
  const float* x = nullptr;
  const float* w = nullptr;
  const float* b = nullptr;
  std::int64_t columns = 0;
  float eps = 0;
  float* y = nullptr;  // the result; for norm_int8 a buffer of `columns` floats
  std::int64_t group_size = 0;
  std::int64_t groups = 0;
  std::int8_t* values = nullptr;
  float* scales = nullptr;
  std::int32_t* group_sums = nullptr;
};

// Rows [begin, end). norm_int8 returns whether all results are finite, norm true.
using LayerNormFunction = bool (*)(const LayerNormArgs& a, std::int64_t begin,
                                   std::int64_t end) noexcept;

struct LayerNormKernels {
  LayerNormFunction norm, norm_int8;
};

extern const LayerNormKernels kLayerNormReference;
extern const LayerNormKernels kLayerNormAvx2;
extern const LayerNormKernels kLayerNormAvx512;

}  // namespace aquatint::kernels::detail
