// RMS norm over each head followed by an optional swish gate: what a GLA layer does to the output
// of its recurrence before the output projection. Fused because all three arrays are large and the
// arithmetic is small. The order is part of the name: Mamba-2 gates first, which is a different
// function.
#pragma once

#include <cstdint>

#include "device/stream.h"
#include "kernels/product_view.h"
#include "kernels/row_sink.h"

namespace aquatint::kernels {

// y = w * o / sqrt(mean over a head of o^2 + eps) * gate * sigmoid(gate), with o, gate and y
// [rows, heads * dv] and w [dv] shared by the heads. A null gate leaves the norm alone, a null w
// means ones; y may be o or gate. Error kInvalidArgument for a negative size or a missing array.
void gated_rms_norm(const float* o, const float* gate, const float* w, std::int64_t rows,
                    std::int64_t heads, std::int64_t dv, float eps, float* y);

// The same on the stream's device, where all pointers are.
void gated_rms_norm(Stream& stream, const float* o, const float* gate, const float* w,
                    std::int64_t rows, std::int64_t heads, std::int64_t dv, float eps, float* y);
// On a GPU, from a gate (or null) in any form, to any form; what is not finite then is reported to
// the stream under `tag` (Stream::fault_tag).
void gated_rms_norm_gpu(Stream& stream, const float* o, const ProductView* gate, const float* w,
                        std::int64_t rows, std::int64_t heads, std::int64_t dv, float eps,
                        const RowSink& sink, int tag);

}  // namespace aquatint::kernels
