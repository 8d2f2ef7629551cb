// What one call of the CUDA form of gated_norm.h works on.
#pragma once

#include <stdint.h>

#include "kernels/product_view.h"
#include "kernels/row_sink.h"

namespace aquatint::kernels {

struct GatedNormCudaArgs {
  const float* o = nullptr;  // [rows, heads, dv]
  bool gated = false;
  ProductView gate;          // rows of heads * dv, when gated
  const float* w = nullptr;  // [dv] or null
  int64_t rows = 0, heads = 0, dv = 0;
  float eps = 0;
  RowSink sink;  // rows of heads * dv; f32 may be o or gate
};

}  // namespace aquatint::kernels
