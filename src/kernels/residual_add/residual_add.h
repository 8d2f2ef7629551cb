// The residual connection: hidden values plus what a part of a block adds to them.
#pragma once

#include <cstdint>

#include "device/stream.h"

namespace aquatint::kernels {

// hidden[i] += delta[i] for i < n.
void residual_add(Stream& stream, float* hidden, const float* delta, std::int64_t n);

}  // namespace aquatint::kernels
