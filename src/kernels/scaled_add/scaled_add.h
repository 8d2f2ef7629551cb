// Sums and products with one factor, for models that scale what they add to the residual stream
// (muP: MiniCPM). No such model runs on a GPU.
#pragma once

#include <cstdint>

#include "device/stream.h"

namespace aquatint::kernels {

// y[i] += factor * x[i] for i < n. Error kUnsupported on a GPU.
void scaled_add(Stream& stream, float* y, const float* x, float factor, std::int64_t n);

// x[i] *= factor for i < n. Error kUnsupported on a GPU.
void scale(Stream& stream, float* x, float factor, std::int64_t n);

}  // namespace aquatint::kernels
