// Causal softmax attention with grouped queries, with or without rotary positions and a sliding
// window: the mixer of the Llama family, of GPT-2 and of hybrid GLA layers. Keys are cached after
// rotation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "layers/linear.h"
#include "layers/mixer.h"

namespace aquatint {

// Rotary frequencies that change with the length of the text ("dynamic" NTK scaling): from position
// `trained` on, a token is rotated as the last one of a text that ends with it. So the frequencies
// of a position never depend on what comes later, nor on how a text is cut into runs.
struct DynamicRope {
  double theta = 0, factor = 0;
  std::int64_t trained = 0;  // positions up to which the frequencies are the usual ones
  // Inverse frequencies of a text of `length` tokens:
  // theta' = theta (factor length / trained - (factor - 1))^(d / (d - 2)).
  std::vector<float> inverse_frequencies(std::int64_t head_dim, std::int64_t length) const;
};

struct AttentionConfig {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t window = 0;      // keys visible to a query, itself included; 0: all
  float scale = 0;              // of the scores; 0: 1 / sqrt(head_dim)
  std::vector<float> inv_freq;  // rotary inverse frequencies [head_dim / 2]; empty: no rotation
  std::optional<DynamicRope> dynamic;
  kernels::KvType kv_cache = kernels::KvType::kF32;
  // Of the products of prompts, on the CPU. A mixer whose projections read int8 activations takes
  // kBFloat16, which loses less than those do and keeps pace with them; others stay in float32.
  kernels::AttentionArithmetic arithmetic = kernels::AttentionArithmetic::kFloat32;

  // With what the options say of caches and of arithmetic: bfloat16 where dense weights are.
  AttentionConfig with(const LoadOptions& options) const;
};

struct AttentionWeights {
  std::string module;
  Linear q, k, v, o;
  // One projection to queries, keys and values side by side, instead of q, k and v. On the CPU
  // only.
  std::optional<Linear> qkv = std::nullopt;
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
  void project(ForwardContext& context, LinearInput& x, float* q, float* k, float* v) const;
  void rotate(ForwardContext& context, std::span<const Segment> segments, std::int64_t rows,
              float* q, float* k) const;

  AttentionConfig config_;
  AttentionWeights weights_;
  Stream* stream_;
  Tensor inv_freq_;  // config_.inv_freq on the device
};

}  // namespace aquatint
