#include <bit>

#include "kernels/matmul/matmul_internal.h"

namespace aquatint::kernels::detail {
namespace {

float widen(float value) {
  return value;
}
float widen(std::uint16_t bf16) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bf16) << 16);
}

template <typename T>
void matmul_float(const T* x, std::int64_t rows, std::int64_t columns, const T* w,
                  std::int64_t outputs, const float* bias, float* y, std::int64_t ldy) noexcept {
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < outputs; ++n) {
      double sum = bias != nullptr ? static_cast<double>(bias[n]) : 0.0;
      for (std::int64_t k = 0; k < columns; ++k) {
        sum += static_cast<double>(widen(x[m * columns + k])) *
               static_cast<double>(widen(w[n * columns + k]));
      }
      y[m * ldy + n] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void matmul_f32_reference(const float* x, std::int64_t rows, std::int64_t columns, const float* w,
                          std::int64_t outputs, const float* bias, float* y,
                          std::int64_t ldy) noexcept {
  matmul_float(x, rows, columns, w, outputs, bias, y, ldy);
}

void matmul_bf16_reference(const std::uint16_t* x, std::int64_t rows, std::int64_t columns,
                           const std::uint16_t* w, std::int64_t outputs, const float* bias,
                           float* y, std::int64_t ldy) noexcept {
  matmul_float(x, rows, columns, w, outputs, bias, y, ldy);
}

void matmul_u8s8_reference(const std::uint8_t* x, std::int64_t rows, std::int64_t columns,
                           const std::int8_t* w, std::int64_t outputs, std::int32_t* y,
                           std::int64_t ldy) noexcept {
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < outputs; ++n) {
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < columns; ++k) {
        sum += static_cast<std::int32_t>(x[m * columns + k]) * w[n * columns + k];
      }
      y[m * ldy + n] = sum;
    }
  }
}

}  // namespace aquatint::kernels::detail
