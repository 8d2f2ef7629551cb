// Elementwise activation functions, alone, as the gate of a gated linear unit (SwiGLU and its kin),
// and fused with the quantization of the unit's result, which saves that result a trip through
// memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "device/stream.h"
#include "kernels/activation/activation_kind.h"
#include "kernels/product_view.h"
#include "kernels/row_sink.h"

namespace aquatint::kernels {

// The function a config names: identity, linear, silu, swish, relu, sigmoid, logsigmoid, sqrelu,
// relu2, gelu, gelu_new, gelu_fast, gelu_tanh, gelu_pytorch_tanh; nothing for other names. "gelu"
// is the tanh form, as flash-linear-attention means it.
std::optional<Activation> activation_from_name(std::string_view name);

// The same as transformers means it: "gelu" is the exact form, gelu_python too.
std::optional<Activation> activation_from_transformers(std::string_view name);

// x[i] = f(x[i]) for i < n, within 1e-6 relative or 1e-7 absolute.
void activate(Activation activation, float* x, std::int64_t n);

// y[i] = f(gate[i]) * up[i] for i < n; y may be gate or up.
void gated_activation(Activation activation, const float* gate, const float* up, std::int64_t n,
                      float* y);

// y = f(gate) * up, or f(gate) where up is null, [rows, columns], quantized with one scale per row:
// scale = absmax / 127, q = clamp(rint(y * (127 / absmax)), -127, 127); a row with absmax below
// 1e-30 has scale 0 and q 0. values [rows, group_size * groups], 0 past `columns`; scales [rows];
// group_sums [rows, groups] sums q. False if any y is NaN or infinite (such rows become 0). The
// bits are those of gated_activation over all of it followed by quantize_rows_int8.
bool gated_activation_int8(Activation activation, const float* gate, const float* up,
                           std::int64_t rows, std::int64_t columns, std::int64_t group_size,
                           std::int64_t groups, std::int8_t* values, float* scales,
                           std::int32_t* group_sums);

// The same on the stream's device, where all pointers are.
void activate(Stream& stream, Activation activation, float* x, std::int64_t n);
// f(gate) * up, [rows, columns], in the form the sink asks for. On the CPU gate and up are float32
// without gaps, and the sink float32 or int8. False if the form int8 finds NaN or infinity; a GPU
// reports that to the stream under `tag` (Stream::fault_tag), of bfloat16 too, and returns true.
// With an empty view `up` it is f(gate), on the CPU only.
bool gated_activation(Stream& stream, Activation activation, const ProductView& gate,
                      const ProductView& up, std::int64_t rows, std::int64_t columns,
                      const RowSink& sink, int tag);

}  // namespace aquatint::kernels
