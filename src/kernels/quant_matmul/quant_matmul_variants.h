// The kernel bodies of quant_matmul, one pair per instruction set, and what they are given;
// quant_matmul.cc and its test call them. Includes nothing with code in it, so that files compiled
// for one instruction set define nothing shared.
#pragma once

#include <cstdint>

namespace aquatint::kernels {

// Activations (x8, x_scales and sums8, or x16 and sums16) of quantize_rows, weights of
// packing/packed_weights.h, bias [outputs] or null, y [rows, ldy].
struct QuantMatmulArgs {
  const std::int8_t* x8;
  const float* x_scales;
  const std::int32_t* sums8;
  const std::uint16_t* x16;
  const float* sums16;
  std::int64_t rows;

  const std::uint8_t* data;
  const float* scales;
  const std::uint8_t* zeros;  // null when symmetric
  int symmetric_zero;
  int bits;
  std::int64_t outputs, group_size, groups;

  const float* bias;
  float* y;
  std::int64_t ldy;
};

// Computes rows [row_begin, row_end) of the outputs of panels [panel_begin, panel_end). The result
// of an element does not depend on how the work is cut, given a.rows.
using QuantMatmulFn = void (*)(const QuantMatmulArgs& a, std::int64_t row_begin,
                               std::int64_t row_end, std::int64_t panel_begin,
                               std::int64_t panel_end) noexcept;

void quant_matmul_a8_reference(const QuantMatmulArgs& a, std::int64_t row_begin,
                               std::int64_t row_end, std::int64_t panel_begin,
                               std::int64_t panel_end) noexcept;
void quant_matmul_a8_avx2(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
                          std::int64_t panel_begin, std::int64_t panel_end) noexcept;
void quant_matmul_a8_avx512vnni(const QuantMatmulArgs& a, std::int64_t row_begin,
                                std::int64_t row_end, std::int64_t panel_begin,
                                std::int64_t panel_end) noexcept;
void quant_matmul_a16_reference(const QuantMatmulArgs& a, std::int64_t row_begin,
                                std::int64_t row_end, std::int64_t panel_begin,
                                std::int64_t panel_end) noexcept;
void quant_matmul_a16_avx2(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
                           std::int64_t panel_begin, std::int64_t panel_end) noexcept;
void quant_matmul_a16_avx512(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
                             std::int64_t panel_begin, std::int64_t panel_end) noexcept;
void quant_matmul_a16_avx512bf16(const QuantMatmulArgs& a, std::int64_t row_begin,
                                 std::int64_t row_end, std::int64_t panel_begin,
                                 std::int64_t panel_end) noexcept;

}  // namespace aquatint::kernels
