// Rounding of a weight matrix to nearest, on the grid that the range of each tensor, row or group
// implies: quantize/roundings/nearest.h has the formula. It is here, among the kernels, because a
// GPU does it too, with the same bits.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "device/stream.h"
#include "packing/scheme.h"

namespace aquatint::kernels {

struct RoundNearestTask {
  // [rows, columns], finite, of a float type; on the CPU not necessarily aligned to it.
  const void* weights = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 0, columns = 0;
  WeightScheme scheme;
  DType scale_dtype = DType::kF32;  // the float type in which scales are to be exact
  std::int8_t* values = nullptr;    // [rows, columns]
  // [rows, scheme.groups(columns)], or [1] for Granularity::kTensor; so are the zero points.
  float* scales = nullptr;
  std::int8_t* zero_points = nullptr;  // null when the scheme is symmetric
};

void round_nearest(const RoundNearestTask& task);

// The same on the stream's device, where the pointers are.
void round_nearest(Stream& stream, const RoundNearestTask& task);

}  // namespace aquatint::kernels
