// The mixer of Mamba-2 (Dao and Gu 2024, arXiv:2405.21060): one projection to gate, channels, B, C
// and step sizes, a short convolution over channels, B and C, the recurrence with one decay per
// head, a gated norm, and the output projection. Part of the width may be a gated feed-forward part
// that passes by the recurrence.
#pragma once

#include <string>

#include "kernels/gated_group_norm/gated_group_norm_args.h"
#include "kernels/ssd/ssd.h"
#include "layers/linear.h"
#include "layers/mixer.h"

namespace aquatint {

struct Mamba2Config {
  kernels::SsdShape shape;
  std::int64_t mlp_width = 0;  // of the part that passes by
  std::int64_t conv_size = 0;  // taps of the convolution
  kernels::GateOrder gate_order = kernels::GateOrder::kGateFirst;
  std::int64_t norm_group_size = 0;  // channels that are normalized together
  float norm_eps = 1e-5f;
  // Of the recurrence's products in prefill; state and decays are float32 in any case.
  kernels::SsdArithmetic arithmetic = kernels::SsdArithmetic::kFloat32;
  bool skip_per_channel = false;        // else per head
  float dt_low = 0.0f, dt_high = 0.0f;  // limits of the step sizes

  std::int64_t channels() const { return shape.heads * shape.head_dim; }
  std::int64_t conv_channels() const { return channels() + 2 * shape.groups * shape.states; }
  // Rows of the input projection: z and x of the part that passes by, z, x, B, C, dt.
  std::int64_t projected() const {
    return 2 * mlp_width + channels() + conv_channels() + shape.heads;
  }
};

struct Mamba2Weights {
  std::string module;      // "backbone.layers.0.mixer"
  Linear in, out;          // of [projected], [hidden]
  Tensor conv, conv_bias;  // float32 [conv_channels, conv_size], [conv_channels] or undefined
  Tensor dt_bias, rates;   // float32 [heads]; A / ln 2
  Tensor skip;             // float32 [heads] or [channels]
  Tensor norm;             // float32 [channels]; undefined: no norm
};

class Mamba2Mixer : public Mixer {
 public:
  Mamba2Mixer(const Mamba2Config& config, Mamba2Weights weights)
      : config_(config), weights_(std::move(weights)) {}
  void forward(ForwardContext& context, LinearInput& x, std::span<const Segment> segments,
               float* y) const override;
  std::unique_ptr<BlockState> new_state() const override;
  bool steps_are_alike() const override { return true; }
  std::size_t nbytes() const override;

 private:
  float* convolve(ForwardContext& context, const float* xbc, std::int64_t rows,
                  std::span<const Segment> segments) const;
  float* recurrence(ForwardContext& context, const float* xbc, const float* dt, std::int64_t rows,
                    std::span<const Segment> segments) const;
  const float* beside_mlp(ForwardContext& context, const float* in, const float* y,
                          std::int64_t rows) const;

  Mamba2Config config_;
  Mamba2Weights weights_;
};

}  // namespace aquatint
