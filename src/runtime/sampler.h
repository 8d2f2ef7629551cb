// What a user may say about how tokens are chosen, the seed's sequence of draws, and how far back
// the repetition penalty looks. The choice itself is kernels/sample: Model::next_tokens makes it
// where the model runs, and temperature 0 takes the likeliest token.
#pragma once

#include <cstdint>
#include <random>
#include <span>

#include "models/model.h"

namespace aquatint {

struct SamplerOptions {
  float temperature = 0.8f;  // 0: greedy
  std::int64_t top_k = 40;   // keep the k likeliest; 0: all
  float top_p = 0.95f;       // keep the smallest set with this probability; 1: all
  float min_p = 0.0f;        // drop tokens below this share of the likeliest one's probability
  float repetition_penalty =
      1.0f;  // divides positive and multiplies negative logits of seen tokens
  std::int64_t repeat_last_n = 64;  // how far back the penalty looks; 0: everything
  std::uint64_t seed = 0;
};

class Sampler {
 public:
  // Error kInvalidArgument for a value outside its range.
  explicit Sampler(const SamplerOptions& options);
  // How the token after `history` (tokens so far, prompt included) is chosen. Takes one draw from
  // the seed's sequence, none at temperature 0.
  TokenChoice next(std::span<const std::int32_t> history);
  // The token itself, of logits on the CPU. Ids from `allowed` on (vocabulary padding) are never
  // chosen. Error kNumeric when a logit is NaN.
  std::int32_t sample(std::span<const float> logits, std::span<const std::int32_t> history,
                      std::int64_t allowed);

 private:
  SamplerOptions options_;
  std::mt19937_64 random_;
};

}  // namespace aquatint
