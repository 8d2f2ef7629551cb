#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/sample/sample.h"

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

TokenChoice Sampler::next(std::span<const std::int32_t> history) {
  TokenChoice choice;
  choice.how.temperature = options_.temperature;
  choice.how.top_k = options_.top_k;
  choice.how.top_p = options_.top_p;
  choice.how.min_p = options_.min_p;
  choice.how.repetition_penalty = options_.repetition_penalty;
  if (options_.repetition_penalty != 1.0f) {
    const auto window =
        options_.repeat_last_n == 0
            ? history.size()
            : std::min(history.size(), static_cast<std::size_t>(options_.repeat_last_n));
    const auto recent = history.last(window);
    choice.seen.assign(recent.begin(), recent.end());
    std::sort(choice.seen.begin(), choice.seen.end());
    choice.seen.erase(std::unique(choice.seen.begin(), choice.seen.end()), choice.seen.end());
  }
  if (options_.temperature != 0.0f) choice.how.random = random_();
  return choice;
}

std::int32_t Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> history,
                             std::int64_t allowed) {
  TokenChoice choice = next(history);
  choice.how.seen = static_cast<std::int64_t>(choice.seen.size());
  std::vector<float> changed(logits.begin(), logits.end());
  const auto n = static_cast<std::int64_t>(changed.size());
  std::int32_t token = kernels::kNoToken;
  kernels::sample(Stream::cpu(), changed.data(), 1, n, std::clamp<std::int64_t>(allowed, 1, n),
                  &choice.how, choice.seen.data(), &token);
  if (token == kernels::kNoToken) raise(ErrorKind::kNumeric, "the model's logits hold NaN");
  return token;
}

}  // namespace aquatint
