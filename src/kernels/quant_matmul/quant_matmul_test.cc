#include "kernels/quant_matmul/quant_matmul.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <tuple>

#include "base/dtype.h"
#include "base/threads.h"

namespace aquatint::kernels {
namespace {

// A product with packed weights and activations in both forms, and what its elements are made of.
struct Problem {
  PackedWeights weights;
  std::int64_t rows;
  std::vector<std::int8_t> x8;
  std::vector<float> x_scales;
  std::vector<std::int32_t> sums8;
  std::vector<std::uint16_t> x16;
  std::vector<float> sums16;
  std::vector<float> bias;

  Int8Rows int8_rows() const { return {x8.data(), x_scales.data(), sums8.data()}; }
  Bf16Rows bf16_rows() const { return {x16.data(), sums16.data()}; }
  QuantMatmulArgs args(float* y, std::int64_t ldy, bool with_bias) const;
};

QuantMatmulArgs Problem::args(float* y, std::int64_t ldy, bool with_bias) const {
  QuantMatmulArgs a{};
  a.x8 = x8.data();
  a.x_scales = x_scales.data();
  a.sums8 = sums8.data();
  a.x16 = x16.data();
  a.sums16 = sums16.data();
  a.rows = rows;
  a.data = weights.data.data<std::uint8_t>();
  a.scales = weights.scales.data<float>();
  a.zeros = weights.zeros.defined() ? weights.zeros.data<std::uint8_t>() : nullptr;
  a.symmetric_zero = weights.symmetric_zero;
  a.bits = weights.bits;
  a.outputs = weights.outputs;
  a.group_size = weights.group_size;
  a.groups = weights.groups;
  a.bias = with_bias ? bias.data() : nullptr;
  a.y = y;
  a.ldy = ldy;
  return a;
}

PackedWeights random_weights(const WeightScheme& scheme, std::int64_t outputs, std::int64_t columns,
                             std::mt19937& random) {
  QuantizedMatrix m;
  m.scheme = scheme;
  m.values = Tensor::empty({outputs, columns}, DType::kI8);
  std::uniform_int_distribution<int> integer(scheme.qmin(), scheme.qmax());
  for (std::int64_t i = 0; i < m.values.numel(); ++i) {
    m.values.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(integer(random));
  }
  std::uniform_real_distribution<float> real(0.001f, 0.01f);
  m.scales = Tensor::empty({outputs, m.groups()}, DType::kF32);
  if (!scheme.symmetric) m.zero_points = Tensor::empty({outputs, m.groups()}, DType::kI8);
  for (std::int64_t i = 0; i < m.scales.numel(); ++i) {
    m.scales.mutable_data<float>()[i] = real(random);
    if (!scheme.symmetric) {
      m.zero_points.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(integer(random));
    }
  }
  return pack_weights(m);
}

Problem random_problem(const WeightScheme& scheme, std::int64_t rows, std::int64_t outputs,
                       std::int64_t columns) {
  constexpr std::int64_t kPlace[4] = {0, 2, 1, 3};
  std::mt19937 random(static_cast<unsigned>(rows * 31 + outputs * 1009 + columns));
  Problem p;
  p.weights = random_weights(scheme, outputs, columns, random);
  p.rows = rows;
  const std::int64_t padded = p.weights.padded_columns();
  const std::int64_t groups = p.weights.groups;
  p.x8.resize(static_cast<std::size_t>(rows * padded));
  p.x16.resize(p.x8.size());
  p.sums8.resize(static_cast<std::size_t>(rows * groups));
  p.sums16.resize(p.sums8.size());
  std::uniform_int_distribution<int> integer(-127, 127);
  std::normal_distribution<float> normal;
  for (std::int64_t m = 0; m < rows; ++m) {
    p.x_scales.push_back(0.01f + 0.001f * static_cast<float>(m));
    for (std::int64_t k = 0; k < columns; ++k) {
      // The extremes come often: they are where narrow sums would saturate.
      const int extreme = integer(random) < 0 ? -127 : 127;
      const int q = k % 3 == 0 ? extreme : integer(random);
      const std::uint16_t h = f32_to_bf16(normal(random));
      const auto g = static_cast<std::size_t>(m * groups + k / p.weights.group_size);
      p.x8[static_cast<std::size_t>(m * padded + k)] = static_cast<std::int8_t>(q);
      p.x16[static_cast<std::size_t>(m * padded + k / 4 * 4 + kPlace[k % 4])] = h;
      p.sums8[g] += q;
      p.sums16[g] += bf16_to_f32(h);
    }
  }
  for (std::int64_t n = 0; n < outputs; ++n) p.bias.push_back(normal(random));
  return p;
}

std::vector<QuantMatmulVariant> runnable() {
  std::vector<QuantMatmulVariant> kept;
  for (const auto& variant : quant_matmul_variants()) {
    if (variant.isa <= detected_isa()) kept.push_back(variant);
  }
  return kept;
}

constexpr float kUntouched = -12345.0f;

std::vector<float> run(QuantMatmulFn fn, const Problem& p, std::int64_t ldy, bool with_bias) {
  std::vector<float> y(static_cast<std::size_t>(p.rows * ldy), kUntouched);
  fn(p.args(y.data(), ldy, with_bias), 0, p.rows, 0, p.weights.panels());
  return y;
}

// Float64 product of the float matrices both sides stand for, and the sum of magnitudes an error is
// measured against.
struct Exact {
  double value = 0, magnitude = 0;
};
Exact exact_a16(const Problem& p, const Tensor& w, std::int64_t m, std::int64_t n) {
  constexpr std::int64_t kPlace[4] = {0, 2, 1, 3};
  const std::int64_t padded = p.weights.padded_columns();
  Exact e;
  for (std::int64_t k = 0; k < p.weights.columns; ++k) {
    const auto at = static_cast<std::size_t>(m * padded + k / 4 * 4 + kPlace[k % 4]);
    const double x = static_cast<double>(bf16_to_f32(p.x16[at]));
    const double term = x * static_cast<double>(w.data<float>()[n * p.weights.columns + k]);
    e.value += term;
    e.magnitude += std::fabs(term);
  }
  return e;
}

struct Size {
  std::int64_t rows, outputs, columns;
};

const std::vector<Size>& sizes() {
  static const std::vector<Size> all = {
      {1, 1, 8},
      {1, 16, 16},
      {2, 17, 24},
      {3, 33, 48},
      {4, 64, 128},
      {5, 16, 16},
      {6, 70, 100},
      {7, 48, 24},
      {8, 100, 257},
      {9, 65, 640},
      {10, 130, 48},
      {11, 16, 1040},
      {12, 31, 384},
      {13, 80, 130},
      {14, 64, 512},
      {15, 200, 264},
      {16, 96, 72},
      {17, 129, 1100},
      {1, 200, 1100},
      {70, 40, 96},
      {131, 24, 544},
      // More rows than wait for their sums at a time; more columns than one block has.
      {250, 20, 600},
      {7, 20, 2100}};
  return all;
}

using Params =
    std::tuple<int, bool, std::int64_t>;  // bits, symmetric, group size (0: one per output)

class QuantMatmulTest : public testing::TestWithParam<Params> {
 protected:
  WeightScheme scheme() const {
    const auto [bits, symmetric, group] = GetParam();
    return {bits, symmetric, group == 0 ? Granularity::kRow : Granularity::kGroup, group};
  }
};

TEST_P(QuantMatmulTest, Int8VariantsGiveTheBitsOfTheReference) {
  for (const Size& s : sizes()) {
    const Problem p = random_problem(scheme(), s.rows, s.outputs, s.columns);
    for (const bool with_bias : {false, true}) {
      const std::int64_t ldy = s.outputs + (with_bias ? 3 : 0);
      const std::vector<float> expected = run(quant_matmul_a8_reference, p, ldy, with_bias);
      for (const auto& variant : runnable()) {
        const std::vector<float> actual = run(variant.a8, p, ldy, with_bias);
        for (std::size_t i = 0; i < actual.size(); ++i) {
          ASSERT_EQ(actual[i], expected[i]) << isa_name(variant.isa) << " M " << s.rows << " N "
                                            << s.outputs << " K " << s.columns << " at " << i;
        }
      }
    }
  }
}

TEST_P(QuantMatmulTest, Int8ReferenceIsTheProductOfTheDequantizedMatrices) {
  const Problem p = random_problem(scheme(), 3, 33, 100);
  const std::vector<float> y = run(quant_matmul_a8_reference, p, 33, true);
  const Tensor w = unpack_to_f32(p.weights);
  for (std::int64_t m = 0; m < 3; ++m) {
    for (std::int64_t n = 0; n < 33; ++n) {
      double expected = static_cast<double>(p.bias[static_cast<std::size_t>(n)]);
      double magnitude = 1.0;
      for (std::int64_t k = 0; k < 100; ++k) {
        const auto at = static_cast<std::size_t>(m * p.weights.padded_columns() + k);
        const double x = static_cast<double>(p.x8[at]) *
                         static_cast<double>(p.x_scales[static_cast<std::size_t>(m)]);
        expected += x * static_cast<double>(w.data<float>()[n * 100 + k]);
        magnitude += std::fabs(x * static_cast<double>(w.data<float>()[n * 100 + k]));
      }
      EXPECT_NEAR(static_cast<double>(y[static_cast<std::size_t>(m * 33 + n)]), expected,
                  1e-6 * magnitude);
    }
  }
}

TEST_P(QuantMatmulTest, Bf16VariantsAgreeWithTheExactProduct) {
  for (const Size& s : sizes()) {
    const Problem p = random_problem(scheme(), s.rows, s.outputs, s.columns);
    const Tensor w = unpack_to_f32(p.weights);
    const std::int64_t ldy = s.outputs + 1;
    for (const auto& variant : runnable()) {
      const std::vector<float> y = run(variant.a16, p, ldy, true);
      for (std::int64_t i = 0; i < s.rows * ldy; ++i) {
        const float actual = y[static_cast<std::size_t>(i)];
        const std::int64_t n = i % ldy;
        if (n == s.outputs) {
          ASSERT_EQ(actual, kUntouched) << isa_name(variant.isa);
          continue;
        }
        const Exact e = exact_a16(p, w, i / ldy, n);
        const double bias = static_cast<double>(p.bias[static_cast<std::size_t>(n)]);
        // Asymmetric weights subtract z * sum of x afterwards, which costs up to a few more bits.
        ASSERT_NEAR(static_cast<double>(actual), e.value + bias, 3e-6 * (e.magnitude + 1.0))
            << isa_name(variant.isa) << " M " << s.rows << " N " << s.outputs << " K " << s.columns
            << " at " << i;
      }
    }
  }
}

// Threads get ranges of rows or of panels: every cut must give the same bits.
TEST_P(QuantMatmulTest, ResultsDoNotDependOnHowTheWorkIsCut) {
  for (const std::int64_t rows : {std::int64_t{3}, std::int64_t{40}}) {
    const Problem p = random_problem(scheme(), rows, 150, 300);
    for (const auto& variant : runnable()) {
      for (const QuantMatmulFn fn : {variant.a8, variant.a16}) {
        const std::vector<float> expected = run(fn, p, 150, true);
        std::vector<float> y(expected.size(), kUntouched);
        const QuantMatmulArgs a = p.args(y.data(), 150, true);
        fn(a, 0, 2, 0, 10);
        fn(a, 2, rows, 0, 7);
        fn(a, 2, rows, 7, 10);
        EXPECT_EQ(y, expected) << isa_name(variant.isa);
      }
    }
  }
}

TEST_P(QuantMatmulTest, DispatchedProductsMatchTheReferenceOnAnyNumberOfThreads) {
  for (const std::int64_t rows : {std::int64_t{1}, std::int64_t{5}, std::int64_t{50}}) {
    for (const std::int64_t outputs : {std::int64_t{40}, std::int64_t{700}}) {
      const Problem p = random_problem(scheme(), rows, outputs, 256);
      const std::vector<float> expected = run(quant_matmul_a8_reference, p, outputs, true);
      std::vector<float> bf16_once;
      for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        std::vector<float> y(expected.size());
        quant_matmul_a8(p.int8_rows(), rows, p.weights, p.bias.data(), y.data(), outputs);
        EXPECT_EQ(y, expected) << threads << " threads";
        quant_matmul_a16(p.bf16_rows(), rows, p.weights, nullptr, y.data(), outputs);
        if (bf16_once.empty()) bf16_once = y;
        EXPECT_EQ(y, bf16_once) << threads << " threads";
      }
      set_num_threads(0);
    }
  }
}

std::string scheme_name(const testing::TestParamInfo<Params>& test) {
  const auto [bits, symmetric, group] = test.param;
  return fmt::format("w{}{}g{}", bits, symmetric ? "sym" : "asym", group);
}

INSTANTIATE_TEST_SUITE_P(Schemes, QuantMatmulTest,
                         testing::Values(Params(8, true, 0), Params(8, false, 0),
                                         Params(8, true, 32), Params(8, false, 128),
                                         Params(4, true, 128), Params(4, false, 128),
                                         Params(4, true, 32), Params(4, false, 32),
                                         Params(4, true, 0), Params(4, false, 24),
                                         Params(4, true, 8), Params(4, false, 640),
                                         Params(3, false, 64)),
                         scheme_name);

}  // namespace
}  // namespace aquatint::kernels
