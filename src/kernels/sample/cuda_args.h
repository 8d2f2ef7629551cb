// What the CUDA form of sample.h works on.
#pragma once

#include <stdint.h>

#include "kernels/sample/sample_row.h"

namespace aquatint::kernels {

struct SampleCudaArgs {
  float* logits = nullptr;  // [rows, ld]
  int64_t rows = 0, ld = 0, allowed = 0;
  const SampleRow* how = nullptr;  // [rows]
  const int32_t* seen = nullptr;
  int32_t* tokens = nullptr;  // [rows]
};

}  // namespace aquatint::kernels
