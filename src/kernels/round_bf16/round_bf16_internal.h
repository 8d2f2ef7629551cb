// The kernel bodies of round_bf16. Plain declarations only, so that files compiled for an
// instruction set can include it.
#pragma once

#include <cstdint>

namespace aquatint::kernels {

using RoundBf16Fn = bool (*)(const float* x, std::int64_t n, std::uint16_t* y) noexcept;

bool round_bf16_reference(const float* x, std::int64_t n, std::uint16_t* y) noexcept;
bool round_bf16_avx2(const float* x, std::int64_t n, std::uint16_t* y) noexcept;

}  // namespace aquatint::kernels
