// The mixer of Mamba (Gu and Dao 2023, arXiv:2312.00752): a projection to channels and their gate,
// a short convolution, step sizes and B and C from what it makes, the selective scan, and the
// output projection.
#pragma once

#include <string>

#include "layers/linear.h"
#include "layers/mixer.h"

namespace aquatint {

struct MambaConfig {
  std::int64_t channels = 0;   // d_inner: width of the scan
  std::int64_t states = 0;     // d_state, per channel
  std::int64_t rank = 0;       // dt_rank, of the step sizes
  std::int64_t conv_size = 0;  // taps of the convolution
};

struct MambaWeights {
  std::string module;      // "backbone.layers.0.mixer"
  Linear in, x, dt, out;   // of [2 channels], [rank + 2 states], [channels], [hidden]
  Tensor conv, conv_bias;  // float32 [channels, conv_size], [channels] or undefined
  Tensor rates;            // float32 [states, channels]; A / ln 2
  Tensor skip;             // float32 [channels]
};

class MambaMixer : public Mixer {
 public:
  MambaMixer(const MambaConfig& config, MambaWeights weights)
      : config_(config), weights_(std::move(weights)) {}
  void forward(ForwardContext& context, LinearInput& x, std::span<const Segment> segments,
               float* y) const override;
  std::unique_ptr<BlockState> new_state() const override;
  bool steps_are_alike() const override { return true; }
  std::size_t nbytes() const override;

 private:
  // Step sizes before softplus, [rows, channels], from the first columns of projected.
  float* time_steps(ForwardContext& context, const float* projected, std::int64_t rows) const;

  MambaConfig config_;
  MambaWeights weights_;
};

}  // namespace aquatint
