// Products of activations with group-wise quantized weights, y = x W^T + bias, on the packed bytes:
// int8 activations give exact integer dot products per group (a8), bfloat16 ones accumulate in
// float32 (a16). One row runs at the speed of memory, many rows at the speed of the dot-product
// instructions. The arithmetic and the measurements are in docs/kernels/quant_matmul.md.
#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu_features.h"
#include "kernels/quant_matmul/quant_matmul_variants.h"
#include "packing/packed_weights.h"

namespace aquatint::kernels {

// What quantize_rows_int8 writes for the group size and count of the weights.
struct Int8Rows {
  const std::int8_t* values;       // [rows, padded_columns]
  const float* scales;             // [rows]
  const std::int32_t* group_sums;  // [rows, groups]
};

// What round_rows_bf16 writes for the group size and count of the weights, in its column order.
struct Bf16Rows {
  const std::uint16_t* values;  // [rows, padded_columns]
  const float* group_sums;      // [rows, groups]
};

// y[m * ldy + n] = x_scale[m] * sum_g s[n,g] * (float)(dot_u(n,g) - z[n,g] * xsum[m,g]) + bias[n]:
// sums over groups in ascending order, each step one fused multiply-add, so that all variants and
// thread counts give the same bits. bias [outputs] may be null; ldy >= outputs. Exact while a group
// has at most 65536 columns (int32).
void quant_matmul_a8(const Int8Rows& x, std::int64_t rows, const PackedWeights& w,
                     const float* bias, float* y, std::int64_t ldy);

// The same on bfloat16 activations, without x_scale. The integers of the weights are exact in
// bfloat16; sums are float32, in an order that depends on the variant and on whether rows is large.
void quant_matmul_a16(const Bf16Rows& x, std::int64_t rows, const PackedWeights& w,
                      const float* bias, float* y, std::int64_t ldy);

struct QuantMatmulVariant {
  Isa isa;
  QuantMatmulFn a8;
  QuantMatmulFn a16;
};
// Every variant compiled in, lowest first.
const std::vector<QuantMatmulVariant>& quant_matmul_variants();

}  // namespace aquatint::kernels
