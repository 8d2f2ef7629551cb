#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace aquatint {

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {
  const auto require = [](bool ok, const char* what, auto value, const char* range) {
    if (!ok) raise(ErrorKind::kInvalidArgument, "{} is {}, expected {}", what, value, range);
  };
  require(options.temperature >= 0 && std::isfinite(options.temperature), "temperature",
          options.temperature, "0 or more");
  require(options.top_k >= 0, "top-k", options.top_k, "0 or more");
  require(options.top_p > 0 && options.top_p <= 1, "top-p", options.top_p, "above 0, at most 1");
  require(options.min_p >= 0 && options.min_p < 1, "min-p", options.min_p, "from 0 to below 1");
  require(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty),
          "repetition penalty", options.repetition_penalty, "above 0");
  require(options.repeat_last_n >= 0, "repeat-last-n", options.repeat_last_n, "0 or more");
}

void Sampler::penalize(std::span<const std::int32_t> history) {
  if (options_.repetition_penalty == 1.0f) return;
  const auto window =
      options_.repeat_last_n == 0
          ? history.size()
          : std::min(history.size(), static_cast<std::size_t>(options_.repeat_last_n));
  std::vector<std::int32_t> seen(history.end() - static_cast<std::ptrdiff_t>(window),
                                 history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const std::int32_t token : seen) {
    if (token < 0 || static_cast<std::size_t>(token) >= candidates_.size()) continue;
    float& logit = candidates_[static_cast<std::size_t>(token)].logit;
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
  }
}

// Sorts by likelihood, computes probabilities and cuts the tail.
void Sampler::keep_likeliest() {
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  const auto top_k = static_cast<std::size_t>(options_.top_k);
  if (top_k > 0 && top_k < candidates_.size()) {
    std::partial_sort(candidates_.begin(), candidates_.begin() + options_.top_k, candidates_.end(),
                      likelier);
    candidates_.resize(top_k);
  } else {
    std::sort(candidates_.begin(), candidates_.end(), likelier);
  }
  double total = 0;
  const double best = candidates_.front().logit;
  for (Candidate& c : candidates_) {
    // Equal logits apart, infinite ones would give NaN.
    c.probability = c.logit == best ? 1.0 : std::exp((c.logit - best) / options_.temperature);
    total += c.probability;
  }
  double sum = 0;
  std::size_t keep = 0;
  while (keep < candidates_.size()) {
    const double share = candidates_[keep].probability;  // of the likeliest, whose value is 1
    if (keep > 0 && (sum >= options_.top_p * total || share < options_.min_p)) break;
    sum += share;
    ++keep;
  }
  candidates_.resize(keep);
}

std::int32_t Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> history,
                             std::int64_t allowed) {
  const auto n =
      std::min(logits.size(), static_cast<std::size_t>(std::max<std::int64_t>(1, allowed)));
  candidates_.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (std::isnan(logits[i])) raise(ErrorKind::kNumeric, "the model's logits hold NaN");
    candidates_[i] = {static_cast<std::int32_t>(i), logits[i], 0.0};
  }
  penalize(history);
  if (options_.temperature == 0.0f) {
    const auto best =
        std::max_element(candidates_.begin(), candidates_.end(),
                         [](const Candidate& a, const Candidate& b) { return a.logit < b.logit; });
    return best->token;
  }
  keep_likeliest();
  double total = 0;
  for (const Candidate& c : candidates_) total += c.probability;
  // 53 random bits, so that the draw does not depend on the standard library's distributions.
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  for (const Candidate& c : candidates_) {
    left -= c.probability;
    if (left < 0) return c.token;
  }
  return candidates_.back().token;
}

}  // namespace aquatint
