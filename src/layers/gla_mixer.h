// Gated linear attention (Yang et al. 2023, arXiv:2312.06635) as flash-linear-attention's layer
// computes it: projections, optional short convolutions and feature map, log decays from a low-rank
// projection, the recurrence S = diag(alpha) S + k vᵀ, o = qᵀ S, a per-head RMSNorm, an output gate
// and the output projection.
#pragma once

#include <optional>
#include <string>

#include "kernels/activation/activation.h"
#include "kernels/gla/gla.h"
#include "layers/linear.h"
#include "layers/mixer.h"

namespace aquatint {

struct GlaConfig {
  std::int64_t hidden = 0;
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t dk = 0, dv = 0;                                       // per head
  std::optional<float> clamp_min;                                    // of log decays
  kernels::Activation feature_map = kernels::Activation::kIdentity;  // of q and k
  bool output_gate = true;
  kernels::Activation gate_activation = kernels::Activation::kSilu;
  std::int64_t conv_size = 0;  // taps of the short convolutions; 0: none
  // Of the recurrence's products on a GPU; state and decays are float32 in any case.
  kernels::GlaArithmetic arithmetic = kernels::GlaArithmetic::kFloat32;
  static constexpr float kGateNormalizer = 16.0f;
  static constexpr std::int64_t kGateRank = 16;
};

struct GlaWeights {
  std::string module;              // "model.layers.0.attn"
  Linear q, k, v, g, gk0, gk1, o;  // g only with an output gate
  Tensor q_conv, k_conv, v_conv;   // float32 [channels, conv_size], only with convolutions
  RmsNorm head_norm;               // [dv]
};

class GlaMixer : public Mixer {
 public:
  GlaMixer(const GlaConfig& config, GlaWeights weights, Stream& stream)
      : config_(config), weights_(std::move(weights)), stream_(&stream) {}
  void forward(ForwardContext& context, LinearInput& x, std::span<const Segment> segments,
               float* y) const override;
  std::unique_ptr<BlockState> new_state() const override;
  bool steps_are_alike() const override { return true; }
  std::size_t nbytes() const override;

 private:
  // Values and log decays or, where the recurrence takes them so, products as they were left.
  struct Projected {
    float *q, *k, *v;
    float* low_rank;                    // the first half of the projection of the decays
    float* decay = nullptr;             // null when the recurrence makes the decays itself, with
    std::optional<kernels::GlaGate> r;  // the second half of their projection
    std::optional<kernels::GlaProducts> products;
    std::optional<kernels::ProductView> gate;
  };
  Projected project(ForwardContext& context, LinearInput& x, std::span<const Segment> segments,
                    bool as_products) const;
  void multiply(ForwardContext& context, LinearInput& x, Projected& p) const;
  void make_decays(ForwardContext& context, Projected& p, std::int64_t rows) const;
  bool as_products(const ForwardContext& context) const;
  bool makes_decays_itself(const ForwardContext& context, std::span<const Segment> segments) const;
  float* convolve(ForwardContext& context, const float* x, std::int64_t rows, const Tensor& weight,
                  std::span<const Segment> segments, std::size_t state_index) const;
  LinearInput gate_and_norm(ForwardContext& context,
                            const std::optional<kernels::ProductView>& gate, const float* o,
                            std::int64_t rows) const;

  GlaConfig config_;
  GlaWeights weights_;
  Stream* stream_;
};

}  // namespace aquatint
