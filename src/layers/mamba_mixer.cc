#include "layers/mamba_mixer.h"

#include <algorithm>
#include <vector>

#include "kernels/conv1d_causal/conv1d_causal.h"
#include "kernels/selective_scan/selective_scan.h"

namespace aquatint {
namespace {

// Order of the tensors in a mixer's state.
enum StateIndex : std::size_t { kScan, kConv };

}  // namespace

std::unique_ptr<BlockState> MambaMixer::new_state() const {
  const MambaConfig& c = config_;
  return std::make_unique<FixedState>(
      std::vector<std::pair<std::string, Shape>>{{"scan", Shape{c.states, c.channels}},
                                                 {"conv", Shape{c.conv_size - 1, c.channels}}},
      Stream::cpu());
}

std::size_t MambaMixer::nbytes() const {
  const MambaWeights& w = weights_;
  std::size_t total = w.in.nbytes() + w.x.nbytes() + w.dt.nbytes() + w.out.nbytes();
  for (const Tensor* tensor : {&w.conv, &w.conv_bias, &w.rates, &w.skip}) {
    if (tensor->defined()) total += tensor->nbytes();
  }
  return total;
}

float* MambaMixer::time_steps(ForwardContext& context, const float* projected,
                              std::int64_t rows) const {
  const std::int64_t rank = config_.rank, ld = weights_.x.outputs();
  float* low_rank = context.workspace.take<float>(rows * rank);
  for (std::int64_t t = 0; t < rows; ++t) {
    std::copy_n(projected + t * ld, rank, low_rank + t * rank);
  }
  float* dt = context.workspace.take<float>(rows * config_.channels);
  LinearInput input = LinearInput::values(context, low_rank, rows, rank);
  weights_.dt.forward(context, input, dt);
  return dt;
}

void MambaMixer::forward(ForwardContext& context, LinearInput& x, std::span<const Segment> segments,
                         float* y) const {
  const MambaConfig& c = config_;
  const MambaWeights& w = weights_;
  const std::int64_t rows = x.rows(), channels = c.channels, ld_in = w.in.outputs();
  Workspace& workspace = context.workspace;

  float* in = workspace.take<float>(rows * ld_in);  // x, then z
  w.in.forward(context, x, in);
  context.tap(w.module, ".conv_input", in, rows, channels, ld_in);
  context.tap(w.module, ".z", in + channels, rows, channels, ld_in);

  std::vector<kernels::ConvSequence> windows;
  std::vector<kernels::ScanSequence> sequences;
  for (const Segment& s : segments) {
    auto& state = static_cast<FixedState&>(*s.state);
    windows.push_back({s.first_row, s.tokens, state.values(kConv)});
    sequences.push_back({s.first_row, s.tokens, state.values(kScan)});
  }
  const auto count = static_cast<std::int64_t>(sequences.size());
  float* convolved = workspace.take<float>(rows * channels);
  kernels::conv1d_causal(in, ld_in, channels, c.conv_size, w.conv.data<float>(),
                         w.conv_bias.defined() ? w.conv_bias.data<float>() : nullptr,
                         /*silu=*/true, windows.data(), count, convolved);
  context.tap(w.module, ".x", convolved, rows, channels);

  const std::int64_t ld = w.x.outputs();
  float* projected = workspace.take<float>(rows * ld);  // low-rank dt, B, C
  LinearInput scan_input = LinearInput::values(context, convolved, rows, channels);
  w.x.forward(context, scan_input, projected);
  float* dt = time_steps(context, projected, rows);
  context.tap(w.module, ".dt", dt, rows, channels);
  context.tap(w.module, ".b", projected + c.rank, rows, c.states, ld);
  context.tap(w.module, ".c", projected + c.rank + c.states, rows, c.states, ld);

  kernels::ScanInputs scan;
  scan.channels = channels;
  scan.states = c.states;
  scan.x = convolved;
  scan.ldx = channels;
  scan.dt = dt;
  scan.b = projected + c.rank;
  scan.c = scan.b + c.states;
  scan.ldbc = ld;
  scan.z = in + channels;
  scan.ldz = ld_in;
  scan.rates = w.rates.data<float>();
  scan.skip = w.skip.data<float>();
  kernels::selective_scan(scan, sequences.data(), count, dt);  // gated outputs in the place of dt

  LinearInput output = LinearInput::values(context, dt, rows, channels);
  w.out.forward_add(context, output, y);
}

}  // namespace aquatint
