#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/conv1d_causal/conv1d_causal_variants.h"
#include "kernels/cuda_testing.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;
using testing::random_values;

struct Case {
  std::int64_t channels, kernel;
  bool with_bias, silu;
  std::vector<std::int64_t> tokens;  // of each sequence
  std::int64_t gap = 0;              // between rows of the input
  std::int64_t ldx() const { return channels + gap; }
};

struct Data {
  std::vector<float> x, w, bias, windows;
  std::int64_t rows = 0, window_size = 0;
  explicit Data(const Case& c) {
    for (const std::int64_t n : c.tokens) rows += n;
    window_size = (c.kernel - 1) * c.channels;
    x = random_values(rows * c.ldx(), 1);
    w = random_values(c.channels * c.kernel, 2);
    bias = random_values(c.channels, 3);
    windows = random_values(window_size * static_cast<std::int64_t>(c.tokens.size()), 4);
  }
  std::vector<ConvSequence> sequences(const Case& c, float* windows_at) const {
    std::vector<ConvSequence> result;
    std::int64_t row = 0;
    for (const std::int64_t n : c.tokens) {
      result.push_back({row, n, windows_at});
      row += n;
      windows_at += window_size;
    }
    return result;
  }
};

// Each product and sum rounds once: at most kernel + 1 half units of the sum of magnitudes. Values
// are within 6, so that this holds for any of them. Silu's slope is below 1.1, and it adds a few
// units of its result.
double bound(const Case& c, double expected) {
  const double magnitudes = static_cast<double>(c.kernel) * 6 + 6;
  const double sum = static_cast<double>(c.kernel + 1) * 0x1p-24 * magnitudes;
  return c.silu ? 1.1 * sum + 8 * 0x1p-24 * std::abs(expected) : sum;
}

void expect_matches(const Case& c) {
  const Data data(c);
  const auto count = static_cast<std::int64_t>(c.tokens.size());
  const float* bias = c.with_bias ? data.bias.data() : nullptr;
  auto windows = data.windows;
  std::vector<float> expected(static_cast<std::size_t>(data.rows * c.channels));
  const auto sequences = data.sequences(c, windows.data());
  conv1d_causal_with(conv1d_causal_variants().front(), data.x.data(), c.ldx(), c.channels, c.kernel,
                     data.w.data(), bias, c.silu, sequences.data(), count, expected.data());

  const DeviceArray x(data.x), w(data.w), d_bias(data.bias), d_windows(data.windows);
  const auto y = DeviceArray<float>::poisoned(expected.size());
  const auto on_gpu = data.sequences(c, d_windows.data());
  conv1d_causal(gpu_stream(), x.data(), c.ldx(), c.channels, c.kernel, w.data(),
                c.with_bias ? d_bias.data() : nullptr, c.silu, on_gpu.data(), count, y.data());
  const auto actual = y.host();
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], bound(c, static_cast<double>(expected[i])))
        << "kernel " << c.kernel << " channels " << c.channels << " value " << i;
  }
  ASSERT_EQ(d_windows.host(), windows) << "kernel " << c.kernel << " channels " << c.channels;
}

TEST(Conv1dCausalCuda, MatchesTheReferenceAndUpdatesWindows) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  for (const std::int64_t channels : {1, 7, 33, 128, 129, 300}) {
    for (std::int64_t kernel = 1; kernel <= 8; ++kernel) {
      expect_matches({channels,
                      kernel,
                      kernel % 3 != 0,
                      kernel % 2 == 0,
                      {1, 90, 0, 2, 65, 16, 15, 17, 5, 7, 8, 3},
                      kernel % 4 == 0 ? 13 : 0});
    }
  }
}

TEST(Conv1dCausalCuda, ManySequencesTakeSeveralLaunches) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  std::vector<std::int64_t> tokens;
  for (std::int64_t s = 0; s < 150; ++s) tokens.push_back(s % 5 == 0 ? 20 : s % 3);
  expect_matches({40, 4, false, true, tokens});
  expect_matches({40, 4, false, true, std::vector<std::int64_t>(64, 1)});
  expect_matches({40, 4, false, true, std::vector<std::int64_t>(65, 0)});
}

}  // namespace
}  // namespace aquatint::kernels
