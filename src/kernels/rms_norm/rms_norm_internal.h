// The kernel bodies of rms_norm, four per instruction set. Plain declarations only, so that files
// compiled for an instruction set can include it.
#pragma once

#include <cstdint>

namespace aquatint::kernels::detail {

// Pointers are to whole matrices as in rms_norm.h; fields a form has no use for are ignored.
struct RmsNormArgs {
  const float* x = nullptr;
  const float* w = nullptr;
  std::int64_t columns = 0;
  float eps = 0;
  float* y = nullptr;         // the result; for norm_int8 a buffer of `columns` floats
  float* residual = nullptr;  // add_norm; x is the delta
  std::int64_t group_size = 0;
  std::int64_t groups = 0;
  std::int8_t* values = nullptr;
  float* scales = nullptr;
  std::int32_t* group_sums = nullptr;
  float scale = 1;  // norm_int8_static
};

// Rows [begin, end). The quantizing forms return whether all results are finite, the others true.
using RmsNormFunction = bool (*)(const RmsNormArgs& a, std::int64_t begin,
                                 std::int64_t end) noexcept;

struct RmsNormKernels {
  RmsNormFunction norm, add_norm, norm_int8, norm_int8_static;
};

extern const RmsNormKernels kRmsNormReference;
extern const RmsNormKernels kRmsNormAvx2;
extern const RmsNormKernels kRmsNormAvx512;

}  // namespace aquatint::kernels::detail
