// What one call of the CUDA form of quantize_rows_int8 works on.
#pragma once

#include <stdint.h>

#include "kernels/row_sink.h"

namespace aquatint::kernels {

struct QuantizeRowsCudaArgs {
  const float* x = nullptr;  // [rows, columns]
  int64_t rows = 0, columns = 0;
  RowSink sink;  // its int8 form
};

}  // namespace aquatint::kernels
