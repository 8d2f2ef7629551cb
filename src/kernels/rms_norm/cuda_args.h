// What one call of the CUDA form of rms_norm.h works on.
#pragma once

#include <stdint.h>

#include "kernels/row_sink.h"

namespace aquatint::kernels {

struct RmsNormCudaArgs {
  const float* x = nullptr;      // [rows, columns]; the residual when there is a delta
  const float* delta = nullptr;  // [rows, columns] to add first, or null
  float* residual = nullptr;     // where x + delta goes; may be x
  const float* w = nullptr;      // [columns] or null
  int64_t rows = 0, columns = 0;
  float eps = 0;
  RowSink sink;
};

}  // namespace aquatint::kernels
