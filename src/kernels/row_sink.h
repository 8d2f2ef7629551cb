// The forms in which rows of activations leave a kernel that makes them: float32, bfloat16, or int8
// with a scale, as the products read them. Plain data, shared by host and CUDA sources.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

// Exactly one of f32, bf16 and int8 is set; or, for RMSNorm on a GPU, bf16 and int8.
struct RowSink {
  float* f32 = nullptr;           // [rows, columns]
  uint16_t* bf16 = nullptr;       // [rows, columns], rounded to nearest even; on GPUs only
  int8_t* int8 = nullptr;         // [rows, group_size * groups], 0 past columns
  float* scales = nullptr;        // [rows], with int8
  int32_t* group_sums = nullptr;  // [rows, groups], with int8
  int64_t group_size = 0, groups = 0;
};

}  // namespace aquatint::kernels
