#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "base/threads.h"
#include "kernels/attention/attention_variants.h"
#include "kernels/quantize_rows/quantize_rows.h"

namespace aquatint::kernels {
namespace {

std::vector<float> random_values(std::int64_t n, unsigned seed, float deviation = 1.0F) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

struct Case {
  AttentionShape shape;
  std::vector<std::int64_t> tokens, past;
};

struct Data {
  std::vector<AttentionSequence> sequences;
  // The cache as float32 (what its elements mean) and as it is stored.
  std::vector<std::vector<float>> keys, values;
  std::vector<std::vector<std::uint16_t>> bf16;
  std::vector<std::vector<std::int8_t>> int8;
  std::vector<std::vector<float>> scales;
  std::vector<float> q;
};

// Stores rows of heads in the type of the cache, and replaces them by what that means.
const void* store(const AttentionShape& shape, std::vector<float>& x, Data& data,
                  const float** scales) {
  if (shape.kv == KvType::kF32) return x.data();
  if (shape.kv == KvType::kBF16) {
    data.bf16.emplace_back();
    for (float& v : x) {
      data.bf16.back().push_back(f32_to_bf16(v));
      v = bf16_to_f32(data.bf16.back().back());
    }
    return data.bf16.back().data();
  }
  const std::int64_t d = shape.head_dim, stride = kv_head_stride(shape.kv, d);
  const std::int64_t heads = static_cast<std::int64_t>(x.size()) / d;
  auto& integers = data.int8.emplace_back(static_cast<std::size_t>(heads * stride));
  auto& factors = data.scales.emplace_back(static_cast<std::size_t>(heads));
  std::vector<std::int32_t> sums(factors.size());
  EXPECT_TRUE(quantize_rows_int8(x.data(), heads, d, stride, 1, integers.data(), factors.data(),
                                 sums.data()));
  for (std::int64_t i = 0; i < heads * d; ++i) {
    x[static_cast<std::size_t>(i)] =
        static_cast<float>(integers[static_cast<std::size_t>(i / d * stride + i % d)]) *
        factors[static_cast<std::size_t>(i / d)];
  }
  *scales = factors.data();
  return integers.data();
}

Data make_data(const Case& c, float deviation = 1.0F) {
  Data data;
  const std::int64_t width = c.shape.kv_heads * c.shape.head_dim;
  std::int64_t rows = 0;
  for (std::size_t s = 0; s < c.tokens.size(); ++s) {
    const std::int64_t n = (c.past[s] + c.tokens[s]) * width;
    data.keys.push_back(random_values(n, static_cast<unsigned>(10 + s)));
    data.values.push_back(random_values(n, static_cast<unsigned>(50 + s)));
    data.sequences.push_back({rows, c.tokens[s], c.past[s], nullptr, nullptr});
    rows += c.tokens[s];
  }
  for (std::size_t s = 0; s < c.tokens.size(); ++s) {
    AttentionSequence& sequence = data.sequences[s];
    sequence.keys = store(c.shape, data.keys[s], data, &sequence.key_scales);
    sequence.values = store(c.shape, data.values[s], data, &sequence.value_scales);
  }
  data.q = random_values(rows * c.shape.heads * c.shape.head_dim, 3, deviation);
  return data;
}

// The definition: all scores of a position at once, softmax, weighted sum.
std::vector<double> softmax_attention(const Case& c, const Data& data) {
  std::vector<double> o(data.q.size());
  const AttentionShape& shape = c.shape;
  const std::int64_t width = shape.kv_heads * shape.head_dim;
  for (std::size_t s = 0; s < data.sequences.size(); ++s) {
    const AttentionSequence& sequence = data.sequences[s];
    const float* keys = data.keys[s].data();
    const float* values = data.values[s].data();
    for (std::int64_t t = 0; t < sequence.tokens; ++t) {
      const std::int64_t i = sequence.past + t;
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        const std::int64_t at = ((sequence.first_row + t) * shape.heads + h) * shape.head_dim;
        const std::int64_t kv = h / (shape.heads / shape.kv_heads) * shape.head_dim;
        const std::int64_t first =
            shape.window > 0 ? std::max<std::int64_t>(0, i - shape.window + 1) : 0;
        std::vector<double> weights;
        double largest = -INFINITY, sum = 0;
        for (std::int64_t j = first; j <= i; ++j) {
          double dot = 0;
          for (std::int64_t d = 0; d < shape.head_dim; ++d) {
            dot += static_cast<double>(data.q[static_cast<std::size_t>(at + d)]) *
                   static_cast<double>(keys[j * width + kv + d]);
          }
          weights.push_back(dot * static_cast<double>(shape.scale));
          largest = std::max(largest, weights.back());
        }
        for (double& weight : weights) sum += weight = std::exp(weight - largest);
        for (std::int64_t j = first; j <= i; ++j) {
          for (std::int64_t d = 0; d < shape.head_dim; ++d) {
            o[static_cast<std::size_t>(at + d)] += weights[static_cast<std::size_t>(j - first)] /
                                                   sum *
                                                   static_cast<double>(values[j * width + kv + d]);
          }
        }
      }
    }
  }
  return o;
}

void expect_matches(const Case& c, const Data& data, double tolerance) {
  const auto expected = softmax_attention(c, data);
  for (const auto& variant : attention_variants()) {
    if (variant.isa > detected_isa()) continue;
    std::vector<float> o(data.q.size(), NAN);
    attention_with(variant, c.shape, data.sequences.data(),
                   static_cast<std::int64_t>(data.sequences.size()), data.q.data(), o.data());
    for (std::size_t i = 0; i < o.size(); ++i) {
      ASSERT_NEAR(o[i], expected[i], tolerance)
          << isa_name(variant.isa) << " heads " << c.shape.heads << "/" << c.shape.kv_heads
          << " of " << c.shape.head_dim << " window " << c.shape.window << " tokens " << c.tokens[0]
          << " past " << c.past[0] << " value " << i;
    }
  }
}

TEST(Attention, EveryVariantMatchesTheDefinitionOverOddSizes) {
  struct Heads {
    std::int64_t heads, kv_heads, head_dim;
  };
  for (const Heads h :
       {Heads{1, 1, 1}, {2, 2, 5}, {4, 2, 16}, {3, 1, 33}, {7, 1, 64}, {12, 2, 80}, {2, 1, 130}}) {
    for (const std::int64_t window : {0, 1, 5, 100}) {
      for (const std::int64_t tokens : {1, 2, 3, 17, 49, 131}) {
        const AttentionShape shape{h.heads, h.kv_heads, h.head_dim,
                                   1.0F / std::sqrt(static_cast<float>(h.head_dim)), window};
        for (const std::int64_t past : {0, 70}) {
          const Case c{shape, {tokens}, {past}};
          expect_matches(c, make_data(c), 3e-6);
        }
      }
    }
  }
}

const KvType kCompact[] = {KvType::kBF16, KvType::kInt8};

TEST(Attention, EveryVariantReadsEveryTypeOfCache) {
  for (const KvType kv : kCompact) {
    for (const std::int64_t head_dim : {1, 5, 16, 33, 64, 80}) {
      for (const std::int64_t window : {0, 5, 100}) {
        for (const std::int64_t tokens : {1, 3, 17, 67}) {
          const AttentionShape shape{
              4, 2, head_dim, 1.0F / std::sqrt(static_cast<float>(head_dim)), window, kv};
          const Case c{shape, {tokens, 2}, {70, 600}};
          expect_matches(c, make_data(c), 3e-6);
        }
      }
    }
  }
}

// Operands are rounded to 8 bits of mantissa: scores by up to 2^-8 of the product of magnitudes,
// weights and values by 2^-9 each.
TEST(Attention, ProductsOfPairsAreAsNearAsTheirOperands) {
  const AttentionKernel* kernel = attention_bf16_kernel();
  if (kernel == nullptr) GTEST_SKIP() << "no AVX512-BF16";
  for (const KvType kv : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    for (const std::int64_t head_dim : {1, 5, 16, 33, 64, 80, 130}) {
      for (const std::int64_t window : {0, 5, 100}) {
        for (const std::int64_t tokens : {1, 3, 17, 49, 131, 300}) {
          for (const std::int64_t past : {0, 71}) {
            const AttentionShape shape{
                6, 2, head_dim, 1.0F / std::sqrt(static_cast<float>(head_dim)), window, kv};
            const Case c{shape, {tokens}, {past}};
            const Data data = make_data(c);
            const auto expected = softmax_attention(c, data);
            std::vector<float> o(data.q.size(), NAN);
            attention_with(*kernel, shape, data.sequences.data(), 1, data.q.data(), o.data());
            for (std::size_t i = 0; i < o.size(); ++i) {
              ASSERT_NEAR(o[i], expected[i], 0.02)
                  << "type " << static_cast<int>(kv) << " head " << head_dim << " window " << window
                  << " tokens " << tokens << " past " << past << " value " << i;
            }
          }
        }
      }
    }
  }
}

// Where everything is a bfloat16 number and the weights are alike, nothing is rounded.
TEST(Attention, ProductsOfPairsAreExactWhereNothingIsRounded) {
  const AttentionKernel* kernel = attention_bf16_kernel();
  if (kernel == nullptr) GTEST_SKIP() << "no AVX512-BF16";
  const Case c{{4, 2, 20, 0.25F, 0}, {130}, {30}};
  Data data = make_data(c);
  for (float& q : data.q) q = 0;
  for (float& v : data.values[0]) v = std::round(v * 8.0F) / 8.0F;
  const auto expected = softmax_attention(c, data);
  std::vector<float> o(data.q.size());
  attention_with(*kernel, c.shape, data.sequences.data(), 1, data.q.data(), o.data());
  for (std::size_t i = 0; i < o.size(); ++i) ASSERT_NEAR(o[i], expected[i], 1e-6) << i;
}

TEST(Attention, LongContextsAreSplitAndMerged) {
  for (const std::int64_t past : {511, 512, 1500, 5000}) {
    for (const std::int64_t window : {0, 700}) {
      const Case one{{4, 2, 24, 0.2F, window}, {1}, {past}};
      expect_matches(one, make_data(one), 3e-6);
      const Case few{{4, 2, 24, 0.2F, window}, {3}, {past}};
      expect_matches(few, make_data(few), 3e-6);
    }
  }
}

TEST(Attention, SequencesOfOneCallAreIndependent) {
  const Case c{{4, 1, 20, 0.3F, 0}, {1, 60, 0, 2, 13}, {100, 0, 5, 1000, 7}};
  expect_matches(c, make_data(c), 3e-6);
}

TEST(Attention, SharpSoftmaxDoesNotOverflow) {
  // Scores of many hundreds: only differences from the largest may be exponentiated.
  for (const std::int64_t tokens : {1, 100}) {
    const Case c{{2, 2, 32, 3.0F, 0}, {tokens}, {900}};
    expect_matches(c, make_data(c, 20.0F), 2e-3);
  }
}

TEST(Attention, ResultsDoNotDependOnTheNumberOfThreads) {
  const Case c{{8, 2, 48, 0.15F, 0}, {200, 1, 1}, {30, 3000, 7}};
  const Data data = make_data(c);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    results.emplace_back(data.q.size());
    attention(c.shape, data.sequences.data(), 3, data.q.data(), results.back().data());
  }
  set_num_threads(0);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(Attention, NanInAQueryReachesItsOutputOnly) {
  for (const std::int64_t tokens : {1, 100}) {
    const Case c{{2, 2, 32, 0.2F, 0}, {tokens}, {3}};
    Data data = make_data(c);
    data.q[5] = NAN;
    for (const auto& variant : attention_variants()) {
      if (variant.isa > detected_isa()) continue;
      std::vector<float> o(data.q.size());
      attention_with(variant, c.shape, data.sequences.data(), 1, data.q.data(), o.data());
      for (std::size_t i = 0; i < o.size(); ++i) {
        ASSERT_EQ(std::isnan(o[i]), i < 32) << isa_name(variant.isa) << " value " << i;
      }
    }
    if (attention_bf16_kernel() == nullptr) continue;
    std::vector<float> o(data.q.size());
    attention_with(*attention_bf16_kernel(), c.shape, data.sequences.data(), 1, data.q.data(),
                   o.data());
    for (std::size_t i = 0; i < o.size(); ++i) ASSERT_EQ(std::isnan(o[i]), i < 32) << i;
  }
}

TEST(Attention, RejectsSizesAndArraysThatCannotBe) {
  float x[8] = {};
  const AttentionSequence good{0, 1, 0, x, x}, empty{0, 0, 0, nullptr, nullptr};
  const AttentionSequence no_keys{0, 1, 0, nullptr, x}, negative{0, 1, -1, x, x};
  EXPECT_NO_THROW(attention({1, 1, 2, 1.0F, 0}, &empty, 1, x, x + 4));
  EXPECT_THROW(attention({3, 2, 2, 1.0F, 0}, &good, 1, x, x + 4), Error);
  EXPECT_THROW(attention({1, 1, 0, 1.0F, 0}, &good, 1, x, x + 4), Error);
  EXPECT_THROW(attention({1, 1, 2, 1.0F, -1}, &good, 1, x, x + 4), Error);
  EXPECT_THROW(attention({1, 1, 2, 1.0F, 0}, &no_keys, 1, x, x + 4), Error);
  EXPECT_THROW(attention({1, 1, 2, 1.0F, 0}, &negative, 1, x, x + 4), Error);
  EXPECT_THROW(attention({1, 1, 2, 1.0F, 0, KvType::kInt8}, &good, 1, x, x + 4), Error);
  EXPECT_THROW(attention({1, 1, 2, 1.0F, 0}, &good, 1, nullptr, x), Error);
}

}  // namespace
}  // namespace aquatint::kernels
