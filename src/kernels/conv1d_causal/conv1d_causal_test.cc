#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/conv1d_causal/conv1d_causal_variants.h"

namespace aquatint::kernels {
namespace {

std::vector<float> random_values(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

// The definition, over the whole history of one sequence and with zeros before it.
std::vector<double> convolve(const std::vector<float>& x, std::int64_t channels,
                             std::int64_t kernel, const std::vector<float>& w, const float* bias,
                             bool silu) {
  std::vector<double> y(x.size());
  const std::int64_t tokens = static_cast<std::int64_t>(x.size()) / channels;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t c = 0; c < channels; ++c) {
      double sum = bias != nullptr ? static_cast<double>(bias[c]) : 0.0;
      for (std::int64_t j = 0; j < kernel; ++j) {
        const std::int64_t i = t - kernel + 1 + j;
        if (i < 0) continue;
        sum += static_cast<double>(w[static_cast<std::size_t>(c * kernel + j)]) *
               static_cast<double>(x[static_cast<std::size_t>(i * channels + c)]);
      }
      y[static_cast<std::size_t>(t * channels + c)] = silu ? sum / (1 + std::exp(-sum)) : sum;
    }
  }
  return y;
}

// A text convolved in calls of the given lengths, from an empty window.
std::vector<float> in_calls(const ConvVariant& variant, const std::vector<float>& x,
                            std::int64_t channels, std::int64_t kernel, const std::vector<float>& w,
                            const float* bias, bool silu,
                            const std::vector<std::int64_t>& lengths) {
  std::vector<float> window(static_cast<std::size_t>((kernel - 1) * channels), 0.0F);
  std::vector<float> y(x.size(), NAN);
  std::int64_t row = 0;
  for (const std::int64_t length : lengths) {
    const ConvSequence sequence{row, length, window.data()};
    conv1d_causal_with(variant, x.data(), channels, channels, kernel, w.data(), bias, silu,
                       &sequence, 1, y.data());
    row += length;
  }
  return y;
}

void expect_close(const std::vector<float>& actual, const std::vector<double>& expected,
                  const std::string& what) {
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], 2e-6 * (1 + std::abs(expected[i]))) << what << " at " << i;
  }
}

TEST(Conv1dCausal, EveryVariantMatchesTheDefinitionHoweverTheTextIsCut) {
  const std::vector<std::vector<std::int64_t>> cuts = {
      {151}, {1, 1, 1, 148}, {2, 5, 0, 70, 74}, {130, 1, 20}};
  for (const std::int64_t channels : {1, 7, 16, 33, 255, 256, 300}) {
    const auto x = random_values(151 * channels, 1);
    const auto bias = random_values(channels, 2);
    for (std::int64_t kernel = 1; kernel <= 8; ++kernel) {
      const auto w = random_values(channels * kernel, 3);
      const bool silu = kernel % 2 == 0;
      const float* b = kernel % 3 == 0 ? nullptr : bias.data();
      const auto expected = convolve(x, channels, kernel, w, b, silu);
      for (const auto& variant : conv1d_causal_variants()) {
        if (variant.isa > detected_isa()) continue;
        for (const auto& lengths : cuts) {
          expect_close(in_calls(variant, x, channels, kernel, w, b, silu, lengths), expected,
                       std::string(isa_name(variant.isa)) + " kernel " + std::to_string(kernel) +
                           " channels " + std::to_string(channels));
        }
      }
    }
  }
}

TEST(Conv1dCausal, SequencesOfOneCallAreIndependent) {
  constexpr std::int64_t kChannels = 40, kKernel = 4;
  const auto w = random_values(kChannels * kKernel, 4);
  const std::vector<std::int64_t> tokens = {1, 90, 0, 2, 65};
  const auto x = random_values(158 * kChannels, 5);
  std::vector<float> windows(tokens.size() * (kKernel - 1) * kChannels, 0.0F), y(x.size());
  std::vector<ConvSequence> sequences;
  std::int64_t row = 0;
  for (std::size_t s = 0; s < tokens.size(); ++s) {
    sequences.push_back({row, tokens[s], windows.data() + s * (kKernel - 1) * kChannels});
    row += tokens[s];
  }
  conv1d_causal(x.data(), kChannels, kChannels, kKernel, w.data(), nullptr, true, sequences.data(),
                static_cast<std::int64_t>(sequences.size()), y.data());
  for (const auto& sequence : sequences) {
    const auto begin = x.begin() + sequence.first_row * kChannels;
    const std::vector<float> own(begin, begin + sequence.tokens * kChannels);
    const auto from = y.begin() + sequence.first_row * kChannels;
    expect_close({from, from + sequence.tokens * kChannels},
                 convolve(own, kChannels, kKernel, w, nullptr, true), "sequence");
  }
}

TEST(Conv1dCausal, TheWindowHoldsTheLastInputsOldestFirst) {
  const std::vector<float> x = {1, 10, 2, 20}, w(8, 0.0F);
  std::vector<float> window = {-3, -30, -2, -20, -1, -10}, y(4);
  const ConvSequence two{0, 2, window.data()};
  conv1d_causal(x.data(), 2, 2, 4, w.data(), nullptr, false, &two, 1, y.data());
  EXPECT_EQ(window, (std::vector<float>{-1, -10, 1, 10, 2, 20}));
}

TEST(Conv1dCausal, RowsOfTheInputMayLieApart) {
  constexpr std::int64_t kRows = 70, kGap = 11, kKernel = 4;
  for (const std::int64_t channels : {5, 16, 300}) {
    const std::int64_t ldx = channels + kGap;
    const auto wide = random_values(kRows * ldx, 6), w = random_values(channels * kKernel, 7);
    std::vector<float> dense, y(static_cast<std::size_t>(kRows * channels));
    for (std::int64_t t = 0; t < kRows; ++t) {
      const auto row = wide.begin() + t * ldx;
      dense.insert(dense.end(), row, row + channels);
    }
    for (const auto& variant : conv1d_causal_variants()) {
      if (variant.isa > detected_isa()) continue;
      std::vector<float> window(static_cast<std::size_t>((kKernel - 1) * channels), 0.0F);
      for (const auto& [row, tokens] : {std::pair{0, 2}, std::pair{2, 68}}) {
        const ConvSequence sequence{row, tokens, window.data()};
        conv1d_causal_with(variant, wide.data(), ldx, channels, kKernel, w.data(), nullptr, true,
                           &sequence, 1, y.data());
      }
      EXPECT_EQ(y, in_calls(variant, dense, channels, kKernel, w, nullptr, true, {2, 68}));
    }
  }
}

TEST(Conv1dCausal, RejectsSizesAndArraysThatCannotBe) {
  float x = 0, y = 0, w = 0;
  const ConvSequence good{0, 1, &x}, no_window{0, 1, nullptr}, negative{0, -1, &x};
  EXPECT_THROW(conv1d_causal(&x, 1, 1, 9, &w, nullptr, false, &good, 1, &y), Error);
  EXPECT_THROW(conv1d_causal(&x, 1, 1, 0, &w, nullptr, false, &good, 1, &y), Error);
  EXPECT_THROW(conv1d_causal(&x, 1, 2, 4, &w, nullptr, false, &good, 1, &y), Error);
  EXPECT_THROW(conv1d_causal(&x, 1, 0, 4, &w, nullptr, false, &good, 1, &y), Error);
  EXPECT_THROW(conv1d_causal(&x, 1, 1, 4, &w, nullptr, false, &no_window, 1, &y), Error);
  EXPECT_THROW(conv1d_causal(&x, 1, 1, 4, &w, nullptr, false, &negative, 1, &y), Error);
  EXPECT_NO_THROW(conv1d_causal(&x, 1, 1, 1, &w, nullptr, false, &no_window, 1, &y));
}

}  // namespace
}  // namespace aquatint::kernels
