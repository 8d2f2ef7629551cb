// The result of a product in the form in which the product left it, for kernels that take it from
// there: finished values, or on a GPU the int32 sums of an int8 product, whose scales whoever reads
// them applies. Saves a pass over the largest activations of a model. Plain data, shared by host
// and CUDA sources.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

// Exactly one of f32, bf16 and sums is set; each is [rows, ld].
struct ProductView {
  const float* f32 = nullptr;
  const uint16_t* bf16 = nullptr;
  const int32_t* sums = nullptr;
  int64_t ld = 0;

  // With sums: value[m, n] = (sums - zero[n] * x_sums[m]) * w_scales[n] * x_scales[m] + bias[n].
  const float* x_scales = nullptr;  // [rows]
  const int32_t* x_sums = nullptr;  // [rows]
  const float* w_scales = nullptr;  // [columns]
  const int8_t* w_zeros = nullptr;  // [columns] or null
  const float* bias = nullptr;      // [columns] or null
};

}  // namespace aquatint::kernels
