// Rounds float32 values to bfloat16, for dense bfloat16 products and for running the
// activation grid of 16-bit schemes in float arithmetic.
#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu_features.h"
#include "device/stream.h"
#include "kernels/round_bf16/round_bf16_internal.h"

namespace aquatint::kernels {

// y[i] = x[i] rounded to nearest even. False if any result is NaN or infinite. All variants give
// the same bits for finite values.
bool round_bf16(const float* x, std::int64_t n, std::uint16_t* y);

// The same on the stream's device. What is found on a GPU is reported to the stream under `tag`
// (Stream::fault_tag), and it returns true.
bool round_bf16(Stream& stream, const float* x, std::int64_t n, std::uint16_t* y, int tag);

struct RoundBf16Variant {
  Isa isa;
  RoundBf16Fn run;
};
// Every variant compiled in, lowest first.
const std::vector<RoundBf16Variant>& round_bf16_variants();

}  // namespace aquatint::kernels
