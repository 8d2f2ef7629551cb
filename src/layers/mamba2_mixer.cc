#include "layers/mamba2_mixer.h"

#include <algorithm>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/conv1d_causal/conv1d_causal.h"
#include "kernels/gated_group_norm/gated_group_norm.h"

namespace aquatint {
namespace {

// Order of the tensors in a mixer's state.
enum StateIndex : std::size_t { kRecurrent, kConv };

float* state_of(const Segment& segment, StateIndex index) {
  return static_cast<FixedState&>(*segment.state).values(index);
}

}  // namespace

std::unique_ptr<BlockState> Mamba2Mixer::new_state() const {
  const kernels::SsdShape& s = config_.shape;
  return std::make_unique<FixedState>(
      std::vector<std::pair<std::string, Shape>>{
          {"recurrent", Shape{s.heads, s.states, s.head_dim}},
          {"conv", Shape{config_.conv_size - 1, config_.conv_channels()}}},
      Stream::cpu());
}

std::size_t Mamba2Mixer::nbytes() const {
  const Mamba2Weights& w = weights_;
  std::size_t total = w.in.nbytes() + w.out.nbytes();
  for (const Tensor* tensor : {&w.conv, &w.conv_bias, &w.dt_bias, &w.rates, &w.skip, &w.norm}) {
    if (tensor->defined()) total += tensor->nbytes();
  }
  return total;
}

float* Mamba2Mixer::convolve(ForwardContext& context, const float* xbc, std::int64_t rows,
                             std::span<const Segment> segments) const {
  const Mamba2Weights& w = weights_;
  const std::int64_t channels = config_.conv_channels();
  std::vector<kernels::ConvSequence> sequences;
  for (const Segment& s : segments) {
    sequences.push_back({s.first_row, s.tokens, state_of(s, kConv)});
  }
  float* y = context.workspace.take<float>(rows * channels);
  kernels::conv1d_causal(xbc, w.in.outputs(), channels, config_.conv_size, w.conv.data<float>(),
                         w.conv_bias.defined() ? w.conv_bias.data<float>() : nullptr,
                         /*silu=*/true, sequences.data(),
                         static_cast<std::int64_t>(sequences.size()), y);
  return y;
}

// Outputs of the heads, [rows, channels].
float* Mamba2Mixer::recurrence(ForwardContext& context, const float* xbc, const float* dt,
                               std::int64_t rows, std::span<const Segment> segments) const {
  const Mamba2Config& c = config_;
  const Mamba2Weights& w = weights_;
  const std::int64_t group_columns = c.shape.groups * c.shape.states;
  kernels::SsdInputs inputs;
  inputs.x = xbc;
  inputs.b = xbc + c.channels();
  inputs.c = inputs.b + group_columns;
  inputs.ld = c.conv_channels();
  inputs.dt = dt;
  inputs.ld_dt = w.in.outputs();
  inputs.dt_bias = w.dt_bias.data<float>();
  inputs.rates = w.rates.data<float>();
  inputs.skip = w.skip.data<float>();
  inputs.skip_per_channel = c.skip_per_channel;
  inputs.dt_low = c.dt_low;
  inputs.dt_high = c.dt_high;
  context.tap(w.module, ".x", inputs.x, rows, c.channels(), inputs.ld);
  context.tap(w.module, ".b", inputs.b, rows, group_columns, inputs.ld);
  context.tap(w.module, ".c", inputs.c, rows, group_columns, inputs.ld);
  context.tap(w.module, ".dt", inputs.dt, rows, c.shape.heads, inputs.ld_dt);

  std::vector<kernels::SsdSequence> sequences;
  for (const Segment& s : segments) {
    sequences.push_back({s.first_row, s.tokens, state_of(s, kRecurrent)});
  }
  float* y = context.workspace.take<float>(rows * c.channels());
  kernels::ssd_forward(c.arithmetic, c.shape, inputs, sequences.data(),
                       static_cast<std::int64_t>(sequences.size()), y);
  context.tap(w.module, ".y", y, rows, c.channels());
  return y;
}

// silu(z) x of the part that passes by, then y: rows of the output projection's input.
const float* Mamba2Mixer::beside_mlp(ForwardContext& context, const float* in, const float* y,
                                     std::int64_t rows) const {
  const std::int64_t width = config_.mlp_width, channels = config_.channels();
  if (width == 0) return y;
  float* joined = context.workspace.take<float>(rows * (width + channels));
  for (std::int64_t t = 0; t < rows; ++t) {
    float* row = joined + t * (width + channels);
    const float* z = in + t * weights_.in.outputs();
    kernels::gated_activation(kernels::Activation::kSilu, z, z + width, width, row);
    std::copy_n(y + t * channels, channels, row + width);
  }
  return joined;
}

void Mamba2Mixer::forward(ForwardContext& context, LinearInput& x,
                          std::span<const Segment> segments, float* y) const {
  const Mamba2Config& c = config_;
  const Mamba2Weights& w = weights_;
  const std::int64_t rows = x.rows(), ld = w.in.outputs();
  float* in = context.workspace.take<float>(rows * ld);
  w.in.forward(context, x, in);
  const float* z = in + 2 * c.mlp_width;
  const float* xbc = z + c.channels();
  const float* dt = xbc + c.conv_channels();
  context.tap(w.module, ".z", z, rows, c.channels(), ld);
  context.tap(w.module, ".conv_input", xbc, rows, c.conv_channels(), ld);

  const float* convolved = convolve(context, xbc, rows, segments);
  float* o = recurrence(context, convolved, dt, rows, segments);
  kernels::gated_group_norm(c.gate_order, o, z, ld,
                            w.norm.defined() ? w.norm.data<float>() : nullptr, rows,
                            c.channels() / c.norm_group_size, c.norm_group_size, c.norm_eps, o);
  LinearInput output = LinearInput::values(context, beside_mlp(context, in, o, rows), rows,
                                           c.mlp_width + c.channels());
  w.out.forward_add(context, output, y);
}

}  // namespace aquatint
