#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/attention/attention_variants.h"
#include "kernels/cuda_testing.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;
using testing::random_values;

struct Case {
  std::int64_t heads, kv_heads, head_dim, window;
  std::vector<std::int64_t> tokens, past;
  float deviation = 1.0F;
};

// Errors of the scores, relative to weights, are those of dots of head_dim terms times the scale:
// about sqrt(head_dim) * 2^-24 of the score's usual size. With scores and values of a few units all
// roundings together stay below this.
constexpr double kTolerance = 5e-6;

void expect_matches(const Case& c, double tolerance = kTolerance) {
  const AttentionShape shape{c.heads, c.kv_heads, c.head_dim,
                             1.0F / std::sqrt(static_cast<float>(c.head_dim)), c.window};
  const std::int64_t width = c.kv_heads * c.head_dim;
  std::vector<std::vector<float>> keys, values;
  std::vector<DeviceArray<float>> d_keys, d_values;
  std::vector<AttentionSequence> sequences, on_gpu;
  std::int64_t rows = 0;
  for (std::size_t s = 0; s < c.tokens.size(); ++s) {
    const std::int64_t n = (c.past[s] + c.tokens[s]) * width;
    keys.push_back(random_values(n, static_cast<unsigned>(10 + s), 1.0F));
    values.push_back(random_values(n, static_cast<unsigned>(50 + s), 1.0F));
    d_keys.emplace_back(keys[s]);
    d_values.emplace_back(values[s]);
    sequences.push_back({rows, c.tokens[s], c.past[s], keys[s].data(), values[s].data()});
    on_gpu.push_back({rows, c.tokens[s], c.past[s], d_keys[s].data(), d_values[s].data()});
    rows += c.tokens[s];
  }
  const auto count = static_cast<std::int64_t>(sequences.size());
  const auto q = random_values(rows * c.heads * c.head_dim, 3, c.deviation);
  std::vector<float> expected(q.size());
  attention_with(attention_variants().front(), shape, sequences.data(), count, q.data(),
                 expected.data());
  const DeviceArray d_q(q);
  const auto o = DeviceArray<float>::poisoned(q.size());
  attention(gpu_stream(), shape, on_gpu.data(), count, d_q.data(), o.data());
  const auto actual = o.host();
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], tolerance)
        << "heads " << c.heads << "/" << c.kv_heads << " of " << c.head_dim << " window "
        << c.window << " tokens " << c.tokens[0] << " past " << c.past[0] << " value " << i;
  }
}

TEST(AttentionCuda, MatchesTheReferenceOverOddSizes) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  struct Heads {
    std::int64_t heads, kv_heads, head_dim;
  };
  for (const Heads h :
       {Heads{1, 1, 1}, {2, 2, 5}, {4, 2, 16}, {3, 1, 33}, {7, 1, 64}, {4, 4, 80}, {2, 1, 130}}) {
    for (const std::int64_t window : {0, 1, 5, 100}) {
      for (const std::int64_t tokens : {1, 2, 3, 17, 65, 131}) {
        for (const std::int64_t past : {0, 70}) {
          expect_matches({h.heads, h.kv_heads, h.head_dim, window, {tokens}, {past}});
        }
      }
    }
  }
}

TEST(AttentionCuda, LongContextsAreSplitAndMerged) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  for (const std::int64_t past : {254, 255, 256, 511, 1500}) {
    for (const std::int64_t window : {0, 1, 300, 700}) {
      expect_matches({4, 2, 64, window, {1}, {past}});
      expect_matches({4, 4, 36, window, {7}, {past}});
      expect_matches({9, 1, 20, window, {3}, {past}});  // too many rows for the split
    }
  }
}

TEST(AttentionCuda, LargeHeadsGoTheirOwnWay) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  for (const std::int64_t head_dim : {192, 256, 257, 320, 600}) {
    expect_matches({4, 2, head_dim, 0, {1}, {300}});
    expect_matches({4, 2, head_dim, 20, {70}, {300}});
  }
}

TEST(AttentionCuda, SequencesOfOneCallAreIndependent) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  expect_matches({4, 2, 32, 0, {1, 40, 0, 3, 100, 1, 9}, {600, 0, 5, 0, 33, 0, 300}});
  Case many{2, 1, 8, 0, {}, {}};
  for (std::int64_t s = 0; s < 140; ++s) {
    many.tokens.push_back(s % 3 == 0 ? 1 : 9);
    many.past.push_back(s % 7 == 0 ? 300 : s % 11);
  }
  expect_matches(many);
}

TEST(AttentionCuda, LargeScoresNeitherOverflowNorLoseTheRest) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  // Scores of hundreds: a rounding of one is 2^-24 of it, and changes its weight by that much.
  expect_matches({2, 2, 64, 0, {90}, {40}, 100.0F}, 2e-3);
  expect_matches({2, 2, 64, 0, {1}, {700}, 100.0F}, 2e-3);
}

}  // namespace
}  // namespace aquatint::kernels
