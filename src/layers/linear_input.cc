#include "layers/linear_input.h"

#include "base/error.h"
#include "kernels/quantize_rows/quantize_rows.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/round_bf16/round_bf16.h"

namespace aquatint {
namespace {

[[noreturn]] void raise_not_finite(const std::string& consumer) {
  raise(ErrorKind::kNumeric, "'{}': its input holds NaN or infinity", consumer);
}

const float* weight_data(const RmsNorm& norm) {
  return norm.weight.defined() ? norm.weight.data<float>() : nullptr;
}

}  // namespace

LinearInput LinearInput::values(ForwardContext& context, const float* x, std::int64_t rows,
                                std::int64_t columns) {
  LinearInput input(context, Source::kValues, rows, columns);
  input.f32_ = x;
  return input;
}

LinearInput LinearInput::normalized(ForwardContext& context, const float* x, const RmsNorm& norm,
                                    std::int64_t rows, std::int64_t columns) {
  LinearInput input(context, Source::kNorm, rows, columns);
  input.x_ = x;
  input.norm_ = &norm;
  return input;
}

LinearInput LinearInput::gated(ForwardContext& context, kernels::Activation activation,
                               const float* gate, const float* up, std::int64_t rows,
                               std::int64_t columns) {
  LinearInput input(context, Source::kGated, rows, columns);
  input.x_ = gate;
  input.up_ = up;
  input.activation_ = activation;
  return input;
}

const float* LinearInput::f32() {
  if (f32_ != nullptr) return f32_;
  Stream& stream = context_->stream();
  float* y = context_->workspace.take<float>(rows_ * columns_);
  if (source_ == Source::kNorm) {
    kernels::rms_norm(stream, x_, weight_data(*norm_), rows_, columns_, norm_->eps, y);
  } else {
    kernels::gated_activation(stream, activation_, x_, up_, rows_ * columns_, y);
  }
  f32_ = y;
  return y;
}

bool LinearInput::make_int8(std::int64_t group_size, std::int64_t groups, std::int8_t* values,
                            float* scales, std::int32_t* sums, int tag) {
  Stream& stream = context_->stream();
  if (f32_ != nullptr) {
    return kernels::quantize_rows_int8(stream, f32_, rows_, columns_, group_size, groups, values,
                                       scales, sums, tag);
  }
  if (source_ == Source::kNorm) {
    return kernels::rms_norm_int8(stream, x_, weight_data(*norm_), rows_, columns_, norm_->eps,
                                  group_size, groups, values, scales, sums, tag);
  }
  return kernels::gated_activation_int8(stream, activation_, x_, up_, rows_, columns_, group_size,
                                        groups, values, scales, sums, tag);
}

kernels::Int8Rows LinearInput::int8(std::int64_t group_size, std::int64_t groups,
                                    const std::string& consumer) {
  for (const Int8Form& form : int8_) {
    if (form.group_size == group_size && form.groups == groups) return form.rows;
  }
  auto* values = context_->workspace.take<std::int8_t>(rows_ * group_size * groups);
  auto* scales = context_->workspace.take<float>(rows_);
  auto* sums = context_->workspace.take<std::int32_t>(rows_ * groups);
  const int tag = context_->stream().fault_tag(consumer);
  if (!make_int8(group_size, groups, values, scales, sums, tag)) raise_not_finite(consumer);
  int8_.push_back({group_size, groups, {values, scales, sums}});
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
  // GPUs make this form where they make the values; the CPU rounds them in a pass of its own.
  if (stream.is_cuda() && f32_ == nullptr && source_ == Source::kNorm) {
    kernels::rms_norm_bf16(stream, x_, weight_data(*norm_), rows_, columns_, norm_->eps, values,
                           tag);
  } else if (stream.is_cuda() && f32_ == nullptr) {
    kernels::gated_activation_bf16(stream, activation_, x_, up_, rows_, columns_, values, tag);
  } else if (!kernels::round_bf16(stream, f32(), rows_ * columns_, values, tag)) {
    raise_not_finite(consumer);
  }
  plain_bf16_ = values;
  return plain_bf16_;
}

}  // namespace aquatint
