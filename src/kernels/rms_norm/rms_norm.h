// Root-mean-square normalization of rows, alone, with the residual addition before it, or with the
// quantization after it. The fused forms save one trip of the activations through memory each;
// their results are bit for bit those of the separate steps.
#pragma once

#include <cstdint>

#include "device/stream.h"
#include "kernels/row_sink.h"

namespace aquatint::kernels {

// y = x / sqrt(mean(x^2) + eps) * w per row, x, y [rows, columns], w [columns] or null for ones. y
// may be x.
void rms_norm(const float* x, const float* w, std::int64_t rows, std::int64_t columns, float eps,
              float* y);

// residual += delta, then y = rms_norm(residual); all [rows, columns]. y may be delta.
void add_rms_norm(float* residual, const float* delta, const float* w, std::int64_t rows,
                  std::int64_t columns, float eps, float* y);

// Normalizes and quantizes with one scale per row: scale = absmax / 127, q = clamp(rint(y * (127 /
// absmax)), -127, 127); a row with absmax below 1e-30 has scale 0 and q 0. values [rows, group_size
// * groups], 0 past `columns`; scales [rows]; group_sums [rows, groups] sums q. False if any y is
// NaN or infinite (such rows become 0). The bits are those of rms_norm followed by
// quantize_rows_int8.
bool rms_norm_int8(const float* x, const float* w, std::int64_t rows, std::int64_t columns,
                   float eps, std::int64_t group_size, std::int64_t groups, std::int8_t* values,
                   float* scales, std::int32_t* group_sums);

// Normalizes and quantizes with a scale known beforehand: q = clamp(rint(y / scale), -128, 127),
// values [rows, columns]. False if any y is NaN or infinite. REQUIRES: scale > 0.
bool rms_norm_int8_static(const float* x, const float* w, std::int64_t rows, std::int64_t columns,
                          float eps, float scale, std::int8_t* values);

// The same on the stream's device, where all pointers are.
void rms_norm(Stream& stream, const float* x, const float* w, std::int64_t rows,
              std::int64_t columns, float eps, float* y);
void add_rms_norm(Stream& stream, float* residual, const float* delta, const float* w,
                  std::int64_t rows, std::int64_t columns, float eps, float* y);
// In the form the sink asks for, on the CPU float32 or int8. False if the form int8 finds NaN or
// infinity; a GPU reports that to the stream under `tag` (Stream::fault_tag), of bfloat16 too, and
// returns true.
bool rms_norm(Stream& stream, const float* x, const float* w, std::int64_t rows,
              std::int64_t columns, float eps, const RowSink& sink, int tag);

}  // namespace aquatint::kernels
