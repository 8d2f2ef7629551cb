// What one product on a GPU works on. Matrices are row-major.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

enum class CudaProduct {
  kF32,   // float32 operands, true float32 arithmetic
  kBF16,  // bfloat16 operands, float32 sums and results
  kInt8,  // int8 operands, int32 results
};

// y [rows, ldy] (+)= x [rows, ldx] W[outputs, ldw]^T (+ bias).
struct MatmulCudaArgs {
  CudaProduct product = CudaProduct::kF32;
  const void* x = nullptr;
  const void* w = nullptr;
  const float* bias = nullptr;  // [outputs] or null; not with kInt8
  void* y = nullptr;
  int64_t rows = 0, outputs = 0, columns = 0, ldx = 0, ldw = 0, ldy = 0;
  bool accumulate = false;   // adds to what y holds
  bool bf16_result = false;  // y is bfloat16; kBF16 only
};

}  // namespace aquatint::kernels
