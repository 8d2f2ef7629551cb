// Causal softmax attention with rotary positions, grouped queries and an optional sliding window:
// the mixer of hybrid GLA layers (and of the Llama family). Keys are cached after rotation.
#pragma once

#include <string>
#include <vector>

#include "layers/linear.h"
#include "layers/mixer.h"

namespace aquatint {

struct AttentionConfig {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t window = 0;      // keys visible to a query, itself included; 0: all
  std::vector<float> inv_freq;  // rotary inverse frequencies [head_dim / 2]
};

struct AttentionWeights {
  std::string module;
  Linear q, k, v, o;
};

class AttentionMixer : public Mixer {
 public:
  AttentionMixer(AttentionConfig config, AttentionWeights weights, Stream& stream);
  void forward(ForwardContext& context, LinearInput& x, std::span<const Segment> segments,
               float* y) const override;
  std::unique_ptr<BlockState> new_state() const override;
  bool steps_are_alike() const override { return false; }
  std::size_t nbytes() const override;

 private:
  AttentionConfig config_;
  AttentionWeights weights_;
  Stream* stream_;
  Tensor inv_freq_;  // config_.inv_freq on the device
};

}  // namespace aquatint
