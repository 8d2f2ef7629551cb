// Layer normalization of rows, alone or with the quantization after it, which saves the activations
// a trip through memory; the bits of the fused form are those of the separate steps. For the CPU:
// no model that uses it runs on a GPU.
#pragma once

#include <cstdint>

#include "device/stream.h"
#include "kernels/row_sink.h"

namespace aquatint::kernels {

// y = (x - mean(x)) / sqrt(var(x) + eps) * w + b per row with the variance divided by the number of
// columns; x, y [rows, columns], w, b [columns]. y may be x.
void layer_norm(const float* x, const float* w, const float* b, std::int64_t rows,
                std::int64_t columns, float eps, float* y);

// Normalizes and quantizes with one scale per row: scale = absmax / 127, q = clamp(rint(y * (127 /
// absmax)), -127, 127); a row with absmax below 1e-30 has scale 0 and q 0. values [rows, group_size
// * groups], 0 past `columns`; scales [rows]; group_sums [rows, groups] sums q. False if any y is
// NaN or infinite (such rows become 0). The bits are those of layer_norm followed by
// quantize_rows_int8.
bool layer_norm_int8(const float* x, const float* w, const float* b, std::int64_t rows,
                     std::int64_t columns, float eps, std::int64_t group_size, std::int64_t groups,
                     std::int8_t* values, float* scales, std::int32_t* group_sums);

// In the form the sink asks for, float32 or int8. False if the form int8 finds NaN or infinity.
// Error kUnsupported on a GPU.
bool layer_norm(Stream& stream, const float* x, const float* w, const float* b, std::int64_t rows,
                std::int64_t columns, float eps, const RowSink& sink);

}  // namespace aquatint::kernels
