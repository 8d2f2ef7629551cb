// The integer arithmetic against floating point; what each filter keeps, with which shares, against
// their definition in float64; rows beside each other. Draws are laid out evenly, so that shares
// are exact up to one draw.
#include "kernels/sample/sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/sample/sample_arithmetic.h"

namespace aquatint::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(SampleArithmetic, PowersAreExactToAFewUnitsAndDecreaseWithEveryStep) {
  std::uint32_t last = sampling::power_of_half(0);
  EXPECT_EQ(last, 1u << 31);
  double worst = 0;
  for (std::uint32_t x = 1; x < 1u << 24; ++x) {
    const std::uint32_t power = sampling::power_of_half(x);
    ASSERT_LT(power, last) << x;
    last = power;
    if (x % 61 == 0) {
      worst = std::max(worst, std::fabs(power - std::exp2(31 - static_cast<double>(x) * 0x1p-24)));
    }
  }
  EXPECT_GE(last, 1u << 30);  // nor does the next halving begin above it
  EXPECT_LT(worst, 4);
}

TEST(SampleArithmetic, WeightsAreExponentials) {
  for (const float temperature : {0.1f, 0.8f, 1.0f, 5.0f}) {
    const double halvings = sampling::halvings_per_unit(temperature);
    for (float logit = -30; logit <= 7; logit += 0.37f) {
      const double expected =
          std::exp((static_cast<double>(logit) - 7) / static_cast<double>(temperature));
      const double weight = static_cast<double>(sampling::weight_of(logit, 7, halvings)) * 0x1p-40;
      EXPECT_NEAR(weight, expected, 1e-7 * expected + 0x1p-40) << logit << " / " << temperature;
    }
  }
  EXPECT_EQ(sampling::weight_of(2, 2, 1.5), sampling::kWholeWeight);
  EXPECT_EQ(sampling::weight_of(-kInfinity, 2, 1.5), 0u);
  EXPECT_EQ(sampling::weight_of(kInfinity, kInfinity, 1.5), sampling::kWholeWeight);
  EXPECT_EQ(sampling::weight_of(-40, 0, 1), 1u);  // 2^-40
  EXPECT_EQ(sampling::weight_of(-41, 0, 1), 0u);
  EXPECT_EQ(sampling::weight_of(-3e38f, 3e38f, 1e45), 0u);
}

TEST(SampleArithmetic, SharesOfTotals) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t bits = random(), total = random() >> (random() % 64);
    // The upper half of the product, found by multiplying as one does on paper, bit for bit.
    std::uint64_t high = 0, low = 0;
    for (int bit = 63; bit >= 0; --bit) {
      high = high << 1 | low >> 63;
      low <<= 1;
      if ((bits >> bit & 1) == 0) continue;
      low += total;
      high += low < total ? 1 : 0;
    }
    EXPECT_EQ(sampling::drawn(bits, total), high) << bits << " of " << total;
  }
  EXPECT_EQ(sampling::weight_to_keep(1000, 1.0f), 1000u);
  EXPECT_EQ(sampling::weight_to_keep(1000, 0.5f), 500u);
  EXPECT_EQ(sampling::weight_to_keep(1001, 0.5f), 501u);
  EXPECT_EQ(sampling::weight_to_keep(1000, 1e-9f), 1u);
  EXPECT_EQ(sampling::least_weight(0), 1u);
  EXPECT_EQ(sampling::least_weight(0.5f), sampling::kWholeWeight / 2);
}

std::vector<float> random_logits(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(static_cast<std::size_t>(n));
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// The probabilities that the filters leave, in float64.
std::vector<double> probabilities(const std::vector<float>& logits, const SampleRow& how) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  std::vector<double> p(logits.size(), 0);
  const auto keep = how.top_k == 0 ? order.size() : static_cast<std::size_t>(how.top_k);
  double total = 0, sum = 0, kept = 0;
  for (std::size_t i = 0; i < std::min(keep, order.size()); ++i) {
    p[order[i]] = std::exp(static_cast<double>(logits[order[i]] - logits[order[0]]) /
                           static_cast<double>(how.temperature));
    total += p[order[i]];
  }
  for (const std::size_t i : order) {
    const bool in =
        sum < static_cast<double>(how.top_p) * total && p[i] >= static_cast<double>(how.min_p);
    sum += p[i];
    kept += in ? p[i] : (p[i] = 0);
  }
  for (double& value : p) value /= kept;
  return p;
}

TEST(Sample, DrawsWhatTheFiltersLeaveInProportion) {
  constexpr int kDraws = 1 << 14;
  const SampleRow rows[] = {{1, 1, 0, 1, 0},       {0.5f, 1, 0, 1, 7},        {2, 0.8f, 0, 1, 0},
                            {1, 1, 0.05f, 1, 0},   {1.5f, 0.7f, 0.1f, 1, 20}, {1, 0.9f, 0, 1, 1},
                            {0.01f, 0.9f, 0, 1, 0}};
  for (const std::int64_t n : {1, 2, 33}) {
    const auto logits = random_logits(n, static_cast<unsigned>(n));
    for (SampleRow how : rows) {
      const auto expected = probabilities(logits, how);
      std::vector<int> counts(logits.size());
      for (int i = 0; i < kDraws; ++i) {
        how.random = static_cast<std::uint64_t>(i) << 50;
        auto changed = logits;
        ++counts.at(static_cast<std::size_t>(
            detail::sample_row_reference(changed.data(), n, how, nullptr)));
      }
      for (std::size_t i = 0; i < counts.size(); ++i) {
        EXPECT_NEAR(counts[i], expected[i] * kDraws, 1.01) << n << ", token " << i;
        EXPECT_TRUE(expected[i] > 0 || counts[i] == 0) << n << ", token " << i;
      }
    }
  }
}

// Of equal logits the first tokens are kept, and draws fall on tokens in order.
TEST(Sample, EqualLogitsComeInTheOrderOfTheirTokens) {
  std::vector<float> logits(100, 0.5f);
  logits[60] = 2;
  SampleRow how{1, 1, 0, 1, 11};
  std::vector<std::int32_t> tokens;
  for (std::uint64_t i = 0; i < 64; ++i) {
    how.random = i << 58;
    tokens.push_back(detail::sample_row_reference(logits.data(), 100, how, nullptr));
  }
  EXPECT_EQ(tokens.front(), 60);
  EXPECT_EQ(tokens.back(), 9);
  const auto after = std::find_if(tokens.begin(), tokens.end(), [](int t) { return t != 60; });
  EXPECT_TRUE(std::is_sorted(after, tokens.end()));
  how.temperature = 0;
  logits[7] = 2;
  EXPECT_EQ(detail::sample_row_reference(logits.data(), 100, how, nullptr), 7);
}

TEST(Sample, RowsAreIndependentAndPaddingIsNotLookedAt) {
  constexpr std::int64_t kAllowed = 50, kLd = 53, kRows = 9;
  std::vector<float> logits(kRows * kLd, std::nanf(""));
  std::vector<std::int32_t> seen, tokens(kRows), alone(kRows);
  std::vector<SampleRow> how(kRows);
  for (std::int64_t i = 0; i < kRows; ++i) {
    const auto row = random_logits(kAllowed, static_cast<unsigned>(i));
    std::copy(row.begin(), row.end(), logits.begin() + i * kLd);
    SampleRow& h = how[static_cast<std::size_t>(i)];
    h = {i % 3 == 0 ? 0.0f : 1.0f, 0.9f, 0, 1 + static_cast<float>(i % 2), 10};
    h.random = static_cast<std::uint64_t>(i) * 0x1234567890abcdefu;
    h.first_seen = static_cast<std::int64_t>(seen.size());
    for (std::int32_t t = -1; t < static_cast<std::int32_t>(kLd); t += 1 + static_cast<int>(i)) {
      seen.push_back(t);
    }
    h.seen = static_cast<std::int64_t>(seen.size()) - h.first_seen;
    auto changed = row;
    alone[static_cast<std::size_t>(i)] =
        detail::sample_row_reference(changed.data(), kAllowed, h, seen.data());
  }
  logits[4 * kLd + 3] = std::nanf("");
  alone[4] = kNoToken;
  sample(Stream::cpu(), logits.data(), kRows, kLd, kAllowed, how.data(), seen.data(),
         tokens.data());
  EXPECT_EQ(tokens, alone);
}

TEST(Sample, ThePenaltyChangesSeenLogitsOnly) {
  std::vector<float> logits = {3, 0, -2, 5, kInfinity, 1};
  const std::vector<std::int32_t> seen = {9, 0, 2, 4, -3, 5};
  SampleRow how{0, 1, 0, 2};
  how.first_seen = 1;
  how.seen = 4;
  EXPECT_EQ(detail::sample_row_reference(logits.data(), 5, how, seen.data()), 4);
  EXPECT_EQ(logits, (std::vector<float>{1.5f, 0, -4, 5, kInfinity, 1}));
}

}  // namespace
}  // namespace aquatint::kernels
