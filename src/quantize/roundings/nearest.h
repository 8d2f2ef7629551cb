// Rounding to nearest on the grid that the range of each row or group implies. Symmetric: scale = 2
// max|w| / (2^bits - 1), so the largest weight lies half a step from the end of the integers.
// Asymmetric: the range [min, max], widened to contain zero, is cut into 2^bits - 1 steps. Both as
// compressed-tensors defines them.
#pragma once

#include "device/stream.h"
#include "packing/quantized_matrix.h"

namespace aquatint {

QuantizedMatrix round_nearest(const Tensor& weight, const WeightScheme& scheme, DType scale_dtype);

// The same bits, made by the stream's device. Weight and result are in host memory.
QuantizedMatrix round_nearest(Stream& stream, const Tensor& weight, const WeightScheme& scheme,
                              DType scale_dtype);

}  // namespace aquatint
