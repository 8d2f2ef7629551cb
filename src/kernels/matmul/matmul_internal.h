// What the files of this folder share: the reference loops, the exact 8-bit fallback and its
// variants. Plain declarations only, so that files compiled for an instruction set can include it.
#pragma once

#include <cstdint>

namespace aquatint::kernels::detail {

// y[m * ldy + n] = sum_k x[m, k] w[n, k] (+ bias[n]), summed in double: the specification.
void matmul_f32_reference(const float* x, std::int64_t rows, std::int64_t columns, const float* w,
                          std::int64_t outputs, const float* bias, float* y,
                          std::int64_t ldy) noexcept;
void matmul_bf16_reference(const std::uint16_t* x, std::int64_t rows, std::int64_t columns,
                           const std::uint16_t* w, std::int64_t outputs, const float* bias,
                           float* y, std::int64_t ldy) noexcept;

// y[m * ldy + n] = sum_k x[m, k] w[n, k] in int32, for `outputs` rows of w.
using U8S8Function = void (*)(const std::uint8_t* x, std::int64_t rows, std::int64_t columns,
                              const std::int8_t* w, std::int64_t outputs, std::int32_t* y,
                              std::int64_t ldy) noexcept;
void matmul_u8s8_reference(const std::uint8_t* x, std::int64_t rows, std::int64_t columns,
                           const std::int8_t* w, std::int64_t outputs, std::int32_t* y,
                           std::int64_t ldy) noexcept;
void matmul_u8s8_avx2(const std::uint8_t* x, std::int64_t rows, std::int64_t columns,
                      const std::int8_t* w, std::int64_t outputs, std::int32_t* y,
                      std::int64_t ldy) noexcept;

}  // namespace aquatint::kernels::detail
