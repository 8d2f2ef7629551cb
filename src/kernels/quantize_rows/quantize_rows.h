// Rows of activations into the two forms the quantized products read: int8 with one scale per row
// (token), or bfloat16. Both come with the sum of each column group, which the products need to
// take the zero points of the weights out of an unsigned dot product (packing/packed_weights.h).
#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu_features.h"
#include "device/stream.h"
#include "kernels/quantize_rows/quantize_rows_variants.h"

namespace aquatint::kernels {

// x [rows, columns] float32 to values [rows, group_size * groups]: scale = absmax / 127 and
// q = clamp(rint(x * (127 / absmax)), -127, 127); a row with absmax below 1e-30 has scale 0 and q
// 0; columns past `columns` are 0. scales [rows]; group_sums [rows, groups] sums q. group_size is a
// multiple of 8. False if any x is NaN or infinite (such rows become 0). All variants give the same
// bits.
bool quantize_rows_int8(const float* x, std::int64_t rows, std::int64_t columns,
                        std::int64_t group_size, std::int64_t groups, std::int8_t* values,
                        float* scales, std::int32_t* group_sums);

// The same on the stream's device, where the pointers are. A GPU, on which the result is not known
// when this returns, leaves `tag` for Stream::check_finite (if above 0) and true is returned.
bool quantize_rows_int8(Stream& stream, const float* x, std::int64_t rows, std::int64_t columns,
                        std::int64_t group_size, std::int64_t groups, std::int8_t* values,
                        float* scales, std::int32_t* group_sums, int tag);

// The same with one given scale: q = clamp(rint(clamp(x * (1 / scale), -512, 512)) + zero_point,
// -128, 127), 0 past `columns`. scale is positive and normal. False if any x is NaN or infinite.
bool quantize_rows_static(const float* x, std::int64_t rows, std::int64_t columns,
                          std::int64_t group_size, std::int64_t groups, float scale,
                          std::int32_t zero_point, std::int8_t* values, std::int32_t* group_sums);

// x to bfloat16 (nearest even), zero-padded. The four columns of each quad are stored in the order
// 0, 2, 1, 3, the pairs in which quant_matmul meets the packed weights. group_sums [rows, groups]
// sums the rounded values in float32. False if any x is NaN, infinite or rounds to infinity.
bool round_rows_bf16(const float* x, std::int64_t rows, std::int64_t columns,
                     std::int64_t group_size, std::int64_t groups, std::uint16_t* values,
                     float* group_sums);

struct QuantizeRowsVariant {
  Isa isa;
  QuantizeRowsInt8Fn int8;
  QuantizeRowsStaticFn int8_static;
  RoundRowsBf16Fn bf16;
};
// Every variant compiled in, lowest first.
const std::vector<QuantizeRowsVariant>& quantize_rows_variants();

}  // namespace aquatint::kernels
