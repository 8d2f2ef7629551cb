#include "layers/gla_mixer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/conv1d_causal/conv1d_causal.h"

namespace aquatint {
namespace {

// Order of the tensors in a mixer's state.
enum StateIndex : std::size_t { kRecurrent, kConvQ, kConvK, kConvV };

// Sequences of a step up to which a launch less is worth making each decay several times.
constexpr std::size_t kMostSelfMadeDecays = 4;

FixedState& fixed_state(const Segment& segment) {
  return static_cast<FixedState&>(*segment.state);
}

}  // namespace

std::unique_ptr<BlockState> GlaMixer::new_state() const {
  const GlaConfig& c = config_;
  std::vector<std::pair<std::string, Shape>> layout = {
      {"recurrent", Shape{c.kv_heads, c.dk, c.dv}}};
  if (c.conv_size > 0) {
    layout.emplace_back("conv_q", Shape{c.conv_size - 1, c.heads * c.dk});
    layout.emplace_back("conv_k", Shape{c.conv_size - 1, c.kv_heads * c.dk});
    layout.emplace_back("conv_v", Shape{c.conv_size - 1, c.kv_heads * c.dv});
  }
  return std::make_unique<FixedState>(std::move(layout), *stream_);
}

std::size_t GlaMixer::nbytes() const {
  const GlaWeights& w = weights_;
  std::size_t total =
      w.q.nbytes() + w.k.nbytes() + w.v.nbytes() + w.gk0.nbytes() + w.gk1.nbytes() + w.o.nbytes();
  if (config_.output_gate) total += w.g.nbytes();
  for (const Tensor* tensor : {&w.q_conv, &w.k_conv, &w.v_conv, &w.head_norm.weight}) {
    if (tensor->defined()) total += tensor->nbytes();
  }
  return total;
}

float* GlaMixer::convolve(ForwardContext& context, const float* x, std::int64_t rows,
                          const Tensor& weight, std::span<const Segment> segments,
                          std::size_t state_index) const {
  const std::int64_t channels = weight.dim(0);
  std::vector<kernels::ConvSequence> sequences;
  for (const Segment& s : segments) {
    sequences.push_back({s.first_row, s.tokens, fixed_state(s).values(state_index)});
  }
  float* y = context.workspace.take<float>(rows * channels);
  kernels::conv1d_causal(
      context.stream(), x, channels, channels, config_.conv_size, weight.data<float>(), nullptr,
      /*silu=*/true, sequences.data(), static_cast<std::int64_t>(sequences.size()), y);
  return y;
}

// Steps of one token on a GPU, where each launch counts.
bool GlaMixer::makes_decays_itself(const ForwardContext& context,
                                   std::span<const Segment> segments) const {
  static_assert(GlaConfig::kGateRank == kernels::GlaGate::kRank);
  return context.taps == nullptr && segments.size() <= kMostSelfMadeDecays &&
         weights_.gk1.gpu_bf16() != nullptr &&
         std::all_of(segments.begin(), segments.end(),
                     [](const Segment& s) { return s.tokens == 1; });
}

// Whether nothing stands between the projections and the recurrence.
bool GlaMixer::as_products(const ForwardContext& context) const {
  return context.taps == nullptr && config_.conv_size == 0 &&
         config_.feature_map == kernels::Activation::kIdentity;
}

// q, k, v, the output gate and the first half of the gates' low-rank product: into p.q, p.k, p.v
// and p.low_rank, or where q, k, v are null into p.products.
void GlaMixer::multiply(ForwardContext& context, LinearInput& x, Projected& p) const {
  const GlaConfig& c = config_;
  const GlaWeights& w = weights_;
  const bool any = p.q == nullptr;
  std::vector<Linear::Wanted> wanted = {{&w.q, p.q, any}, {&w.k, p.k, any}, {&w.v, p.v, any}};
  // Beside few rows the small product is free; beside many it would keep the others from tiles.
  const bool beside = x.rows() <= kernels::kGpuFewRows;
  if (beside) wanted.push_back({&w.gk0, p.low_rank});
  if (c.output_gate) wanted.push_back({&w.g, nullptr});
  const auto views = Linear::forward_shared(context, x, wanted);
  if (c.output_gate) {
    p.gate = views.back();
    const float* gate = p.gate->f32;
    if (gate != nullptr) context.tap(w.module, ".gate", gate, x.rows(), c.heads * c.dv);
  }
  if (!beside) w.gk0.forward(context, x, p.low_rank);
  if (any) p.products = kernels::GlaProducts{views[0], views[1], views[2]};
}

// The second half of the low-rank product and, unless the recurrence does it, the log decays.
void GlaMixer::make_decays(ForwardContext& context, Projected& p, std::int64_t rows) const {
  const GlaConfig& c = config_;
  p.decay = context.workspace.take<float>(rows * c.kv_heads * c.dk);
  LinearInput gate_input = LinearInput::values(context, p.low_rank, rows, GlaConfig::kGateRank);
  weights_.gk1.forward(context, gate_input, p.decay);
  if (p.products) {
    p.products->r = p.decay;
    p.products->normalizer = GlaConfig::kGateNormalizer;
    p.products->clamp = c.clamp_min.has_value();
    p.products->clamp_min = c.clamp_min.value_or(0.0f);
    return;
  }
  kernels::gla_log_decay(context.stream(), p.decay, rows * c.kv_heads * c.dk,
                         GlaConfig::kGateNormalizer, c.clamp_min.has_value(),
                         c.clamp_min.value_or(0.0f));
}

GlaMixer::Projected GlaMixer::project(ForwardContext& context, LinearInput& x,
                                      std::span<const Segment> segments, bool as_products) const {
  const GlaConfig& c = config_;
  const GlaWeights& w = weights_;
  const std::int64_t rows = x.rows();
  const std::int64_t q_columns = c.heads * c.dk, k_columns = c.kv_heads * c.dk;
  const std::int64_t v_columns = c.kv_heads * c.dv;
  Workspace& workspace = context.workspace;

  if (w.q.wants_int8() && w.gk0.wants_bf16()) x.expect_int8_and_bf16();
  Projected p{};
  if (!as_products) {
    p.q = workspace.take<float>(rows * q_columns);
    p.k = workspace.take<float>(rows * k_columns);
    p.v = workspace.take<float>(rows * v_columns);
  }
  p.low_rank = workspace.take<float>(rows * GlaConfig::kGateRank);
  multiply(context, x, p);
  if (!as_products && makes_decays_itself(context, segments)) {
    p.r = {w.gk1.gpu_bf16(), w.gk1.bias(), p.low_rank, GlaConfig::kGateNormalizer, c.clamp_min};
  } else {
    make_decays(context, p, rows);
  }
  if (as_products) return p;

  if (c.conv_size > 0) {
    p.q = convolve(context, p.q, rows, w.q_conv, segments, kConvQ);
    p.k = convolve(context, p.k, rows, w.k_conv, segments, kConvK);
    p.v = convolve(context, p.v, rows, w.v_conv, segments, kConvV);
  }
  if (c.feature_map != kernels::Activation::kIdentity) {
    kernels::activate(context.stream(), c.feature_map, p.q, rows * q_columns);
    kernels::activate(context.stream(), c.feature_map, p.k, rows * k_columns);
  }
  context.tap(w.module, ".q", p.q, rows, q_columns);
  context.tap(w.module, ".k", p.k, rows, k_columns);
  context.tap(w.module, ".v", p.v, rows, v_columns);
  if (p.decay != nullptr) context.tap(w.module, ".log_decay", p.decay, rows, k_columns);
  return p;
}

LinearInput GlaMixer::gate_and_norm(ForwardContext& context,
                                    const std::optional<kernels::ProductView>& gate, const float* o,
                                    std::int64_t rows) const {
  const GlaConfig& c = config_;
  const bool fused = c.gate_activation == kernels::Activation::kSilu;
  LinearInput normed = LinearInput::gated_norm(context, o, fused ? gate : std::nullopt,
                                               weights_.head_norm, rows, c.heads, c.dv);
  if (!gate || fused) return normed;
  kernels::ProductView view;
  view.f32 = normed.f32();
  view.ld = c.heads * c.dv;
  return LinearInput::gated(context, c.gate_activation, *gate, view, rows, view.ld);
}

void GlaMixer::forward(ForwardContext& context, LinearInput& x, std::span<const Segment> segments,
                       float* y) const {
  const GlaConfig& c = config_;
  const std::int64_t rows = x.rows(), columns = c.heads * c.dv;
  std::vector<kernels::GlaSequence> sequences;
  for (const Segment& s : segments) {
    sequences.push_back({s.first_row, s.tokens, fixed_state(s).values(kRecurrent)});
  }
  const auto count = static_cast<std::int64_t>(sequences.size());
  const kernels::GlaShape shape{c.heads, c.kv_heads, c.dk, c.dv,
                                1.0f / std::sqrt(static_cast<float>(c.dk))};
  Stream& stream = context.stream();
  const bool products =
      as_products(context) &&
      kernels::gla_takes_products(stream, c.arithmetic, shape, sequences.data(), count);
  const Projected p = project(context, x, segments, products);
  float* o = context.workspace.take<float>(rows * columns);
  if (p.products) {
    kernels::gla_forward(stream, shape, sequences.data(), count, *p.products, o);
  } else if (p.r) {
    kernels::gla_step(stream, shape, sequences.data(), count, p.q, p.k, p.v, *p.r, o);
  } else {
    kernels::gla_forward(stream, c.arithmetic, shape, sequences.data(), count, p.q, p.k, p.v,
                         p.decay, o);
  }
  context.tap(weights_.module, ".o", o, rows, columns);

  LinearInput output = gate_and_norm(context, p.gate, o, rows);
  weights_.o.forward_add(context, output, y);
}

}  // namespace aquatint
