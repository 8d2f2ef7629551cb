#include "layers/linear_input.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/gated_norm/gated_norm.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/quantize_rows/quantize_rows.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/round_bf16/round_bf16.h"

namespace aquatint {
namespace {

// Rows that each block of threads of a product makes again, one after another: with more, making
// them once, in a launch of their own, takes less.
constexpr std::int64_t kMostMadeRows = 1;

[[noreturn]] void raise_not_finite(const std::string& consumer) {
  raise(ErrorKind::kNumeric, "'{}': its input holds NaN or infinity", consumer);
}

const float* weight_data(const RmsNorm& norm) {
  return norm.weight.defined() ? norm.weight.data<float>() : nullptr;
}

}  // namespace

std::int64_t norm_columns(const Norm& norm) {
  return std::visit([](const auto& either) { return either.weight.dim(0); }, norm);
}

std::size_t norm_bytes(const Norm& norm) {
  const auto* layer = std::get_if<LayerNorm>(&norm);
  const Tensor& weight = layer != nullptr ? layer->weight : std::get<RmsNorm>(norm).weight;
  return weight.nbytes() + (layer != nullptr ? layer->bias.nbytes() : 0);
}

LinearInput LinearInput::values(ForwardContext& context, const float* x, std::int64_t rows,
                                std::int64_t columns) {
  LinearInput input(context, Source::kValues, rows, columns);
  input.f32_ = x;
  return input;
}

LinearInput LinearInput::normalized(ForwardContext& context, const float* x, const LayerNorm& norm,
                                    std::int64_t rows, std::int64_t columns) {
  LinearInput input(context, Source::kLayerNorm, rows, columns);
  input.x_ = x;
  input.layer_norm_ = &norm;
  return input;
}

LinearInput LinearInput::normalized(ForwardContext& context, const float* x, const Norm& norm,
                                    std::int64_t rows, std::int64_t columns) {
  return std::visit(
      [&](const auto& either) { return normalized(context, x, either, rows, columns); }, norm);
}

LinearInput LinearInput::normalized(ForwardContext& context, const float* x, const RmsNorm& norm,
                                    std::int64_t rows, std::int64_t columns) {
  LinearInput input(context, Source::kNorm, rows, columns);
  input.x_ = x;
  input.norm_ = &norm;
  return input;
}

LinearInput LinearInput::gated(ForwardContext& context, kernels::Activation activation,
                               const kernels::ProductView& gate, const kernels::ProductView& up,
                               std::int64_t rows, std::int64_t columns) {
  LinearInput input(context, Source::kGated, rows, columns);
  input.gate_ = gate;
  input.up_ = up;
  input.activation_ = activation;
  return input;
}

LinearInput LinearInput::activated(ForwardContext& context, kernels::Activation activation,
                                   const kernels::ProductView& x, std::int64_t rows,
                                   std::int64_t columns) {
  LinearInput input(context, Source::kGated, rows, columns);
  input.gate_ = x;
  input.activation_ = activation;
  return input;
}

LinearInput LinearInput::gated_norm(ForwardContext& context, const float* o,
                                    const std::optional<kernels::ProductView>& gate,
                                    const RmsNorm& norm, std::int64_t rows, std::int64_t heads,
                                    std::int64_t dv) {
  LinearInput input(context, Source::kGatedNorm, rows, heads * dv);
  input.x_ = o;
  input.gate_ = gate;
  input.norm_ = &norm;
  input.heads_ = heads;
  return input;
}

std::optional<kernels::RowSource> LinearInput::row_source() const {
  if (!context_->stream().is_cuda() || rows_ > kMostMadeRows) return std::nullopt;
  kernels::RowSource source;
  source.ldx = columns_;
  if (source_ == Source::kValues) {
    source.x = f32_;
  } else if (source_ == Source::kGated) {
    if (activation_ != kernels::Activation::kSilu || !up_ || up_->f32 == nullptr) {
      return std::nullopt;
    }
    source.x = up_->f32;
    source.ldx = up_->ld;
  } else if (source_ != Source::kNorm && source_ != Source::kGatedNorm) {
    return std::nullopt;
  } else {
    source.x = x_;
    source.norm_columns = columns_ / heads_;
    source.weight = weight_data(*norm_);
    source.eps = norm_->eps;
  }
  if (gate_) {
    if (gate_->f32 == nullptr) return std::nullopt;
    source.gate = gate_->f32;
    source.ld_gate = gate_->ld;
  }
  if (!kernels::can_make_rows(source, rows_, columns_)) return std::nullopt;
  return source;
}

const float* LinearInput::f32() {
  if (f32_ != nullptr) return f32_;
  kernels::RowSink sink;
  sink.f32 = context_->workspace.take<float>(rows_ * columns_);
  make(sink, 0);
  f32_ = sink.f32;
  return f32_;
}

// Whether the source can leave as int8, or bfloat16, without a float32 copy.
bool LinearInput::fuses(bool int8) const {
  if (f32_ != nullptr || source_ == Source::kValues) return false;
  return context_->stream().is_cuda() || (int8 && source_ != Source::kGatedNorm);
}

// Makes the source's values in the form of the sink: float32, or one that fuses() allows.
bool LinearInput::make(const kernels::RowSink& sink, int tag) {
  Stream& stream = context_->stream();
  if (source_ == Source::kNorm) {
    return kernels::rms_norm(stream, x_, weight_data(*norm_), rows_, columns_, norm_->eps, sink,
                             tag);
  }
  if (source_ == Source::kLayerNorm) {
    const LayerNorm& norm = *layer_norm_;
    return kernels::layer_norm(stream, x_, norm.weight.data<float>(), norm.bias.data<float>(),
                               rows_, columns_, norm.eps, sink);
  }
  if (source_ == Source::kGated) {
    return kernels::gated_activation(stream, activation_, *gate_,
                                     up_.value_or(kernels::ProductView{}), rows_, columns_, sink,
                                     tag);
  }
  AQUATINT_ASSERT(source_ == Source::kGatedNorm);
  const std::int64_t dv = columns_ / heads_;
  if (stream.is_cuda()) {
    kernels::gated_rms_norm_gpu(stream, x_, gate_ ? &*gate_ : nullptr, weight_data(*norm_), rows_,
                                heads_, dv, norm_->eps, sink, tag);
  } else {
    kernels::gated_rms_norm(x_, gate_ ? gate_->f32 : nullptr, weight_data(*norm_), rows_, heads_,
                            dv, norm_->eps, sink.f32);
  }
  return true;
}

kernels::Int8Rows LinearInput::int8(std::int64_t group_size, std::int64_t groups,
                                    const std::string& consumer) {
  for (const Int8Form& form : int8_) {
    if (!form.grid && form.group_size == group_size && form.groups == groups) return form.rows;
  }
  auto* values = context_->workspace.take<std::int8_t>(rows_ * group_size * groups);
  auto* scales = context_->workspace.take<float>(rows_);
  auto* sums = context_->workspace.take<std::int32_t>(rows_ * groups);
  const int tag = context_->stream().fault_tag(consumer);
  kernels::RowSink sink{nullptr, nullptr, values, scales, sums, group_size, groups};
  if (with_bf16_ && plain_bf16_ == nullptr && source_ == Source::kNorm && fuses(false)) {
    sink.bf16 = context_->workspace.take<std::uint16_t>(rows_ * columns_);
    plain_bf16_ = sink.bf16;
  }
  const bool finite =
      fuses(true) ? make(sink, tag)
                  : kernels::quantize_rows_int8(context_->stream(), f32(), rows_, columns_,
                                                group_size, groups, values, scales, sums, tag);
  if (!finite) raise_not_finite(consumer);
  int8_.push_back({group_size, groups, std::nullopt, {values, scales, sums}});
  return int8_.back().rows;
}

kernels::Int8Rows LinearInput::int8_static(const StaticScale& grid, std::int64_t group_size,
                                           std::int64_t groups, const std::string& consumer) {
  for (const Int8Form& form : int8_) {
    if (form.grid == grid && form.group_size == group_size && form.groups == groups) {
      return form.rows;
    }
  }
  auto* values = context_->workspace.take<std::int8_t>(rows_ * group_size * groups);
  auto* scales = context_->workspace.take<float>(rows_);
  auto* sums = context_->workspace.take<std::int32_t>(rows_ * groups);
  if (!kernels::quantize_rows_static(f32(), rows_, columns_, group_size, groups, grid.scale,
                                     grid.zero_point, values, sums)) {
    raise_not_finite(consumer);
  }
  std::fill_n(scales, rows_, grid.scale);
  int8_.push_back({group_size, groups, grid, {values, scales, sums}});
  return int8_.back().rows;
}

kernels::Bf16Rows LinearInput::bf16(std::int64_t group_size, std::int64_t groups,
                                    const std::string& consumer) {
  for (const Bf16Form& form : bf16_) {
    if (form.group_size == group_size && form.groups == groups) return form.rows;
  }
  auto* values = context_->workspace.take<std::uint16_t>(rows_ * group_size * groups);
  auto* sums = context_->workspace.take<float>(rows_ * groups);
  if (!kernels::round_rows_bf16(f32(), rows_, columns_, group_size, groups, values, sums)) {
    raise_not_finite(consumer);
  }
  bf16_.push_back({group_size, groups, {values, sums}});
  return bf16_.back().rows;
}

const std::uint16_t* LinearInput::plain_bf16(const std::string& consumer) {
  if (plain_bf16_ != nullptr) return plain_bf16_;
  Stream& stream = context_->stream();
  const int tag = stream.fault_tag(consumer);
  auto* values = context_->workspace.take<std::uint16_t>(rows_ * columns_);
  kernels::RowSink sink;
  sink.bf16 = values;
  const bool finite = fuses(false)
                          ? make(sink, tag)
                          : kernels::round_bf16(stream, f32(), rows_ * columns_, values, tag);
  if (!finite) raise_not_finite(consumer);
  plain_bf16_ = values;
  return plain_bf16_;
}

}  // namespace aquatint
