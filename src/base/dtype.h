// Element types of tensors in memory and in files, and the exact conversions between the float
// ones.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace aquatint {

enum class DType : std::uint8_t { kF32, kF16, kBF16, kI8, kU8, kI32, kI64 };

// Bytes of one element.
std::size_t dtype_size(DType dtype);
// Lower-case name as users write it: "float32", "bfloat16", …
const char* dtype_name(DType dtype);
bool is_float(DType dtype);

// bfloat16 is the upper half of a float32.
inline float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Round to nearest even; NaN stays NaN (quieted), overflow goes to infinity.
inline std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// IEEE binary16 with subnormals, infinities and NaN.
float f16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_f16(float value);

// Converts n elements of a float type (or i8/u8/i32) at `src`, which need not be aligned, to
// float32.
void convert_to_f32(DType dtype, const void* src, std::size_t n, float* dst);
// Converts n float32 values to a float type at `dst`, which need not be aligned.
void convert_from_f32(const float* src, std::size_t n, DType dtype, void* dst);

}  // namespace aquatint
