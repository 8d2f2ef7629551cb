#include "kernels/activation/activation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/activation/variants.h"

namespace aquatint::kernels {
namespace {

const std::vector<Activation> kAll = {
    Activation::kIdentity,   Activation::kSilu,        Activation::kRelu,     Activation::kSigmoid,
    Activation::kLogSigmoid, Activation::kSquaredRelu, Activation::kGeluTanh, Activation::kGelu};
const std::vector<std::int64_t> kSizes = {1, 7, 8, 9, 15, 16, 17, 31, 100, 257, 1000};

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// Mostly ordinary values, some far out.
std::vector<float> random_floats(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size(n));
  for (float& v : values) v = normal(generator) * (generator() % 5 == 0 ? 30.0f : 2.0f);
  return values;
}

void expect_close(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], 1e-7f + 1e-6f * std::abs(expected[i])) << i;
  }
}

TEST(Activation, NamesAreThoseOfConfigs) {
  EXPECT_EQ(activation_from_name("swish"), Activation::kSilu);
  EXPECT_EQ(activation_from_name("silu"), Activation::kSilu);
  EXPECT_EQ(activation_from_name("relu"), Activation::kRelu);
  EXPECT_EQ(activation_from_name("sigmoid"), Activation::kSigmoid);
  EXPECT_EQ(activation_from_name("logsigmoid"), Activation::kLogSigmoid);
  EXPECT_EQ(activation_from_name("sqrelu"), Activation::kSquaredRelu);
  EXPECT_EQ(activation_from_name("gelu_new"), Activation::kGeluTanh);
  EXPECT_EQ(activation_from_name("gelu"), Activation::kGeluTanh);
  EXPECT_EQ(activation_from_transformers("gelu"), Activation::kGelu);
  EXPECT_EQ(activation_from_transformers("gelu_new"), Activation::kGeluTanh);
  EXPECT_EQ(activation_from_transformers("silu"), Activation::kSilu);
  EXPECT_EQ(activation_from_name("Swish"), std::nullopt);
  EXPECT_EQ(activation_from_name(""), std::nullopt);
}

TEST(Activation, ReferenceHasKnownValues) {
  const std::vector<float> x = {-2, 0, 3};
  const std::vector<std::vector<float>> expected = {{-2, 0, 3},
                                                    {-0.23840584f, 0, 2.8577224f},
                                                    {0, 0, 3},
                                                    {0.11920292f, 0.5f, 0.95257413f},
                                                    {-2.126928f, -0.6931472f, -0.04858735f},
                                                    {0, 0, 9},
                                                    {-0.04540231f, 0, 2.9963627f},
                                                    {-0.04550026f, 0, 2.9959503f}};
  for (std::size_t i = 0; i < kAll.size(); ++i) {
    std::vector<float> y(x.size());
    detail::kActivationReference.gated(kAll[i], x.data(), nullptr, 3, y.data());
    expect_close(y, expected[i]);
  }
}

TEST(Activation, VariantsMatchReference) {
  for (const auto& variant : detail::activation_variants()) {
    for (const Activation activation : kAll) {
      for (const std::int64_t n : kSizes) {
        SCOPED_TRACE(testing::Message()
                     << isa_name(variant.isa) << " " << static_cast<int>(activation) << " " << n);
        const auto gate = random_floats(n, 1), up = random_floats(n, 2);
        for (const float* factor : {up.data(), static_cast<const float*>(nullptr)}) {
          std::vector<float> y(gate.size()), expected(gate.size());
          variant.kernels->gated(activation, gate.data(), factor, n, y.data());
          detail::kActivationReference.gated(activation, gate.data(), factor, n, expected.data());
          if (factor != nullptr) {
            // Relative to f(gate): the absolute part of the bound grows with up.
            for (std::size_t i = 0; i < y.size(); ++i) {
              const float bound = 1e-7f * std::max(1.0f, std::abs(factor[i]));
              ASSERT_NEAR(y[i], expected[i], bound + 1e-6f * std::abs(expected[i])) << i;
            }
          } else {
            expect_close(y, expected);
          }
        }
      }
    }
  }
}

TEST(Activation, SiluIsAccurateOverTheWholeRange) {
  std::vector<float> x;
  for (float v = -80.0f; v < 80.0f; v += 0.0103f) x.push_back(v);
  for (const auto& variant : detail::activation_variants()) {
    std::vector<float> y(x.size());
    variant.kernels->gated(Activation::kSilu, x.data(), nullptr,
                           static_cast<std::int64_t>(x.size()), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = static_cast<double>(x[i]) / (1 + std::exp(-static_cast<double>(x[i])));
      ASSERT_NEAR(static_cast<double>(y[i]), exact, 1e-6 * std::abs(exact)) << x[i];
    }
  }
}

TEST(Activation, ExactGeluIsAccurateOverTheWholeRange) {
  std::vector<float> x;
  for (float v = -14.0f; v < 14.0f; v += 0.00113f) x.push_back(v);
  for (const auto& variant : detail::activation_variants()) {
    std::vector<float> y(x.size());
    variant.kernels->gated(Activation::kGelu, x.data(), nullptr,
                           static_cast<std::int64_t>(x.size()), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto v = static_cast<double>(x[i]);
      const double exact = 0.5 * v * std::erfc(-v / std::sqrt(2.0));
      ASSERT_NEAR(static_cast<double>(y[i]), exact, 1e-7 + 1e-6 * std::abs(exact)) << x[i];
    }
  }
}

TEST(Activation, ExtremesNeitherOverflowNorHideNaN) {
  const std::vector<float> x = {
      -3e38f, -1000, -100, 100, 1000, 3e38f, std::numeric_limits<float>::quiet_NaN()};
  for (const auto& variant : detail::activation_variants()) {
    for (const Activation activation :
         {Activation::kSilu, Activation::kSigmoid, Activation::kLogSigmoid, Activation::kRelu,
          Activation::kGelu}) {
      std::vector<float> y(x.size());
      variant.kernels->gated(activation, x.data(), nullptr, 7, y.data());
      for (std::size_t i = 0; i < 6; ++i) EXPECT_TRUE(std::isfinite(y[i])) << x[i];
      EXPECT_TRUE(std::isnan(y[6])) << isa_name(variant.isa) << static_cast<int>(activation);
    }
  }
}

struct Quantized {
  std::vector<std::int8_t> values;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
  bool operator==(const Quantized&) const = default;
};

// The dynamic quantization as its contract states it.
Quantized quantize(const std::vector<float>& y, std::int64_t rows, std::int64_t columns,
                   std::int64_t group_size, std::int64_t groups) {
  Quantized q{std::vector<std::int8_t>(size(rows * group_size * groups)),
              std::vector<float>(size(rows)), std::vector<std::int32_t>(size(rows * groups))};
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* row = y.data() + m * columns;
    float absmax = 0;
    bool finite = true;
    for (std::int64_t k = 0; k < columns; ++k) {
      absmax = std::max(absmax, std::abs(row[k]));
      finite = finite && std::isfinite(row[k]);
    }
    if (!finite || absmax < 1e-30f) continue;
    q.scales[size(m)] = absmax / 127.0f;
    for (std::int64_t k = 0; k < columns; ++k) {
      const float value = std::clamp(std::rint(row[k] * (127.0f / absmax)), -127.0f, 127.0f);
      q.values[size(m * group_size * groups + k)] = static_cast<std::int8_t>(value);
      q.sums[size(m * groups + k / group_size)] += static_cast<std::int32_t>(value);
    }
  }
  return q;
}

TEST(GatedActivationInt8, VariantsEqualActivationThenQuantization) {
  constexpr std::int64_t kRows = 4;
  for (const std::int64_t columns : {1, 5, 16, 33, 130, 1000}) {
    auto gate = random_floats(kRows * columns, 3);
    auto up = random_floats(kRows * columns, 4);
    std::fill_n(up.begin() + columns, columns, 0.0f);
    // A row that must be reported and become zero.
    up[size(3 * columns)] = std::numeric_limits<float>::infinity();
    gate[size(3 * columns)] = 1;
    for (const auto& variant : detail::activation_variants()) {
      for (const Activation activation : {Activation::kSilu, Activation::kSigmoid}) {
        for (const std::int64_t group_size : {8, 32, 136}) {
          SCOPED_TRACE(testing::Message()
                       << isa_name(variant.isa) << " " << columns << " " << group_size);
          const std::int64_t groups = (columns + group_size - 1) / group_size;
          std::vector<float> y(gate.size()), buffer(size(columns));
          for (std::int64_t m = 0; m < kRows; ++m) {
            const std::int64_t at = m * columns;
            variant.kernels->gated(activation, gate.data() + at, up.data() + at, columns,
                                   y.data() + at);
          }
          const Quantized expected = quantize(y, kRows, columns, group_size, groups);
          Quantized q = expected;
          std::fill(q.values.begin(), q.values.end(), std::int8_t{9});
          const detail::GatedInt8Args args{gate.data(),     up.data(),     columns,
                                           group_size,      groups,        q.values.data(),
                                           q.scales.data(), q.sums.data(), buffer.data()};
          EXPECT_TRUE(variant.kernels->gated_int8(activation, args, 0, 3));
          EXPECT_FALSE(variant.kernels->gated_int8(activation, args, 3, 4));
          EXPECT_EQ(q, expected);
        }
      }
    }
  }
}

TEST(GatedActivation, PublicFunctionsCoverAllElementsOnAllThreads) {
  constexpr std::int64_t kRows = 77, kColumns = 1001, kGroup = 128, kGroups = 8;
  const auto gate = random_floats(kRows * kColumns, 5), up = random_floats(kRows * kColumns, 6);
  std::vector<float> y(gate.size());
  gated_activation(Activation::kSilu, gate.data(), up.data(), kRows * kColumns, y.data());
  auto alone = gate;
  activate(Activation::kSilu, alone.data(), kRows * kColumns);
  for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], alone[i] * up[i]);
  const Quantized expected = quantize(y, kRows, kColumns, kGroup, kGroups);
  Quantized q = expected;
  std::fill(q.values.begin(), q.values.end(), std::int8_t{9});
  EXPECT_TRUE(gated_activation_int8(Activation::kSilu, gate.data(), up.data(), kRows, kColumns,
                                    kGroup, kGroups, q.values.data(), q.scales.data(),
                                    q.sums.data()));
  EXPECT_EQ(q, expected);
}

}  // namespace
}  // namespace aquatint::kernels
