// Chooses the next token from logits. Filters apply in the order of the Hugging Face generation
// loop: repetition penalty, temperature, top-k, top-p, min-p. Temperature 0 takes the likeliest
// token.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

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
  // `history`: tokens so far, prompt included. Ids from `allowed` on (vocabulary padding) are never
  // chosen. Error kNumeric when a logit is NaN.
  std::int32_t sample(std::span<const float> logits, std::span<const std::int32_t> history,
                      std::int64_t allowed);

 private:
  struct Candidate {
    std::int32_t token;
    float logit;
    double probability;
  };
  void penalize(std::span<const std::int32_t> history);
  void keep_likeliest();
  SamplerOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;
};

}  // namespace aquatint
