// What one call of the CUDA form of round_nearest.h works on.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

enum class StoredFloat : int32_t { kF32, kF16, kBF16 };

struct RoundNearestCudaArgs {
  const void* weights = nullptr;  // [rows, columns], aligned to its elements
  StoredFloat type = StoredFloat::kF32;
  StoredFloat scale_type = StoredFloat::kF32;
  int64_t rows = 0, columns = 0;
  int64_t group = 0, groups = 1;  // columns of a scale, but for the last of a row; scales of a row
  int32_t bits = 8;
  int8_t* values = nullptr;       // [rows, columns]
  float* scales = nullptr;        // [rows, groups], or [1] with extremes
  int8_t* zero_points = nullptr;  // as scales; null: symmetric
  // Two words to work with when all rows share a scale (groups is 1); else null.
  int32_t* extremes = nullptr;
};

}  // namespace aquatint::kernels
