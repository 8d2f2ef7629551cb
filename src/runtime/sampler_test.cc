// What each filter keeps, on logits made by hand, and that draws depend on the seed alone.
#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "formats/test_support.h"

namespace aquatint {
namespace {

using Ids = std::vector<std::int32_t>;

// Logits of these probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

SamplerOptions no_filters() {
  SamplerOptions options;
  options.temperature = 1;
  options.top_k = 0;
  options.top_p = 1;
  return options;
}

// Shares of `draws` samples by token.
std::map<std::int32_t, double> shares(const SamplerOptions& options,
                                      const std::vector<float>& logits, const Ids& history = {},
                                      int draws = 20000) {
  Sampler sampler(options);
  std::map<std::int32_t, double> counts;
  for (int i = 0; i < draws; ++i) {
    counts[sampler.sample(logits, history, static_cast<std::int64_t>(logits.size()))] +=
        1.0 / draws;
  }
  return counts;
}

std::set<std::int32_t> kept(const SamplerOptions& options, const std::vector<float>& logits) {
  std::set<std::int32_t> tokens;
  for (const auto& [token, share] : shares(options, logits)) tokens.insert(token);
  return tokens;
}

// Four standard deviations of a share measured on 20000 draws.
double sampling_error(double p) {
  return 4 * std::sqrt(p * (1 - p) / 20000);
}

const std::vector<double> kProbabilities = {0.1, 0.4, 0.05, 0.3, 0.15};

TEST(Sampler, DrawsWithTheProbabilitiesOfTheLogits) {
  const auto found = shares(no_filters(), logits_of(kProbabilities));
  for (std::size_t i = 0; i < kProbabilities.size(); ++i) {
    const double p = kProbabilities[i];
    EXPECT_NEAR(found.at(static_cast<std::int32_t>(i)), p, sampling_error(p)) << i;
  }
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  for (const float temperature : {0.5f, 2.0f}) {
    SamplerOptions options = no_filters();
    options.temperature = temperature;
    double total = 0;
    for (const double p : kProbabilities)
      total += std::pow(p, 1.0 / static_cast<double>(temperature));
    const auto found = shares(options, logits_of(kProbabilities));
    for (std::size_t i = 0; i < kProbabilities.size(); ++i) {
      const double p = std::pow(kProbabilities[i], 1.0 / static_cast<double>(temperature)) / total;
      EXPECT_NEAR(found.at(static_cast<std::int32_t>(i)), p, sampling_error(p)) << i;
    }
  }
}

TEST(Sampler, TemperatureZeroTakesTheLikeliestAndTheFirstOfEquals) {
  SamplerOptions options;
  options.temperature = 0;
  Sampler sampler(options);
  EXPECT_EQ(sampler.sample(logits_of(kProbabilities), {}, 5), 1);
  const std::vector<float> equal = {0.0f, 2.0f, 2.0f, 1.0f};
  EXPECT_EQ(sampler.sample(equal, {}, 4), 1);
}

TEST(Sampler, TopKKeepsTheKLikeliest) {
  SamplerOptions options = no_filters();
  options.top_k = 2;
  const auto found = shares(options, logits_of(kProbabilities));
  EXPECT_EQ(found.size(), 2u);
  EXPECT_NEAR(found.at(1), 0.4 / 0.7, sampling_error(0.4 / 0.7));
  EXPECT_NEAR(found.at(3), 0.3 / 0.7, sampling_error(0.3 / 0.7));
  options.top_k = 100;
  EXPECT_EQ(kept(options, logits_of(kProbabilities)).size(), 5u);
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt) {
  const std::pair<float, std::set<std::int32_t>> cases[] = {
      {0.01f, {1}},    {0.39f, {1}},       {0.41f, {1, 3}},
      {0.69f, {1, 3}}, {0.72f, {1, 3, 4}}, {1.0f, {0, 1, 2, 3, 4}}};
  for (const auto& [top_p, tokens] : cases) {
    SamplerOptions options = no_filters();
    options.top_p = top_p;
    EXPECT_EQ(kept(options, logits_of(kProbabilities)), tokens) << top_p;
  }
}

// Each filter normalizes what the ones before it left, as in the Hugging Face generation loop: of
// 0.4 and 0.3 the first alone is more than 0.57.
TEST(Sampler, TopPCountsWhatTopKLeft) {
  SamplerOptions options = no_filters();
  options.top_k = 2;
  options.top_p = 0.56f;
  EXPECT_EQ(kept(options, logits_of(kProbabilities)), (std::set<std::int32_t>{1}));
}

TEST(Sampler, MinPDropsTokensFarBelowTheLikeliest) {
  const std::pair<float, std::set<std::int32_t>> cases[] = {
      {0.74f, {1, 3}}, {0.76f, {1}}, {0.2f, {0, 1, 3, 4}}, {0.0f, {0, 1, 2, 3, 4}}};
  for (const auto& [min_p, tokens] : cases) {
    SamplerOptions options = no_filters();
    options.min_p = min_p;
    EXPECT_EQ(kept(options, logits_of(kProbabilities)), tokens) << min_p;
  }
}

TEST(Sampler, RepetitionPenaltyWeakensSeenTokens) {
  SamplerOptions options = no_filters();
  options.temperature = 0;
  options.repetition_penalty = 2;
  Sampler sampler(options);
  const std::vector<float> logits = {3.0f, 4.0f, -1.0f};
  EXPECT_EQ(sampler.sample(logits, Ids{}, 3), 1);
  EXPECT_EQ(sampler.sample(logits, Ids{1}, 3), 0);
  EXPECT_EQ(sampler.sample(logits, Ids{1, 1, 0}, 3), 1);  // once, however often it was seen
  const std::vector<float> negative = {-3.0f, -2.0f, -5.0f};
  EXPECT_EQ(sampler.sample(negative, Ids{1}, 3), 0);       // -4 after the penalty
  EXPECT_EQ(sampler.sample(logits, Ids{1, -5, 7}, 3), 0);  // ids of no token are passed over
}

TEST(Sampler, RepetitionPenaltyLooksBackAsFarAsAsked) {
  SamplerOptions options = no_filters();
  options.temperature = 0;
  options.repetition_penalty = 2;
  options.repeat_last_n = 2;
  const std::vector<float> logits = {3.0f, 4.0f, 2.9f};
  EXPECT_EQ(Sampler(options).sample(logits, Ids{1, 2, 2}, 3), 1);
  EXPECT_EQ(Sampler(options).sample(logits, Ids{2, 1, 2}, 3), 0);
  options.repeat_last_n = 0;
  EXPECT_EQ(Sampler(options).sample(logits, Ids{1, 2, 2}, 3), 0);
}

TEST(Sampler, IdsBeyondTheTokenizerAreNeverChosen) {
  SamplerOptions options = no_filters();
  Sampler sampler(options);
  const std::vector<float> logits = {0.0f, 1.0f, 50.0f};
  for (int i = 0; i < 100; ++i) EXPECT_LT(sampler.sample(logits, {}, 2), 2);
}

TEST(Sampler, SeedAloneDecides) {
  const auto draw = [](std::uint64_t seed) {
    SamplerOptions options = no_filters();
    options.seed = seed;
    Sampler sampler(options);
    Ids tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sampler.sample(logits_of(kProbabilities), {}, 5));
    return tokens;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(Sampler, InfiniteLogitsMeanCertainty) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Sampler sampler(no_filters());
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInfinity, 1.0f, -kInfinity}, {}, 3), 1);
}

TEST(Sampler, NanIsAnError) {
  for (const float temperature : {0.0f, 1.0f}) {
    SamplerOptions options = no_filters();
    options.temperature = temperature;
    Sampler sampler(options);
    const std::vector<float> logits = {1.0f, std::nanf(""), 0.0f};
    testing::expect_error(ErrorKind::kNumeric, "NaN", [&] { sampler.sample(logits, {}, 3); });
  }
}

TEST(Sampler, OptionsOutOfRangeAreErrors) {
  const auto expect_refused = [](const char* text, auto change) {
    SamplerOptions options;
    change(options);
    testing::expect_error(ErrorKind::kInvalidArgument, text, [&] { Sampler sampler(options); });
  };
  expect_refused("temperature is -1", [](auto& o) { o.temperature = -1; });
  expect_refused("temperature is nan", [](auto& o) { o.temperature = std::nanf(""); });
  expect_refused("top-k is -1", [](auto& o) { o.top_k = -1; });
  expect_refused("top-p is 0", [](auto& o) { o.top_p = 0; });
  expect_refused("top-p is 1.5", [](auto& o) { o.top_p = 1.5f; });
  expect_refused("min-p is 1", [](auto& o) { o.min_p = 1; });
  expect_refused("repetition penalty is 0", [](auto& o) { o.repetition_penalty = 0; });
  expect_refused("repetition penalty is inf",
                 [](auto& o) { o.repetition_penalty = std::numeric_limits<float>::infinity(); });
  expect_refused("repeat-last-n is -1", [](auto& o) { o.repeat_last_n = -1; });
}

}  // namespace
}  // namespace aquatint
