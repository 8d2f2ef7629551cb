#include "kernels/layer_norm/layer_norm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/layer_norm/variants.h"
#include "kernels/quantize_rows/quantize_rows.h"

namespace aquatint::kernels {
namespace {

using detail::LayerNormArgs;

constexpr float kEps = 1e-5f;
const std::vector<std::int64_t> kColumns = {1, 3, 8, 15, 16, 17, 63, 64, 65, 130, 384, 1000, 2048};

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

std::vector<float> random_floats(std::int64_t n, unsigned seed, float mean = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(mean, 1.0f);
  std::vector<float> values(size(n));
  for (float& v : values) v = normal(generator);
  return values;
}

// Rows of `columns` values with weights and biases.
struct Problem {
  std::int64_t rows, columns;
  std::vector<float> x, w, b;

  Problem(std::int64_t rows_, std::int64_t columns_, float mean = 0)
      : rows(rows_),
        columns(columns_),
        x(random_floats(rows * columns, 1, mean)),
        w(random_floats(columns, 2)),
        b(random_floats(columns, 3)) {}

  LayerNormArgs args() const {
    LayerNormArgs a;
    a.x = x.data();
    a.w = w.data();
    a.b = b.data();
    a.columns = columns;
    a.eps = kEps;
    return a;
  }
  std::vector<float> norm(const detail::LayerNormKernels& kernels) const {
    std::vector<float> y(x.size());
    LayerNormArgs a = args();
    a.y = y.data();
    kernels.norm(a, 0, rows);
    return y;
  }
};

struct Quantized {
  std::vector<std::int8_t> values;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
  Quantized(std::int64_t rows, std::int64_t group_size, std::int64_t groups)
      : values(size(rows * group_size * groups), 77),
        scales(size(rows), -1),
        sums(size(rows * groups), -1) {}
  bool operator==(const Quantized&) const = default;
};

bool norm_int8(const detail::LayerNormKernels& kernels, const Problem& p, std::int64_t group_size,
               std::int64_t groups, Quantized& q) {
  std::vector<float> buffer(size(p.columns));
  LayerNormArgs a = p.args();
  a.y = buffer.data();
  a.group_size = group_size;
  a.groups = groups;
  a.values = q.values.data();
  a.scales = q.scales.data();
  a.group_sums = q.sums.data();
  return kernels.norm_int8(a, 0, p.rows);
}

TEST(LayerNorm, ReferenceHasKnownValues) {
  Problem p(1, 4);
  p.x = {1, 2, 3, 6};  // mean 3, variance 3.5
  p.w = {1, 2, 1, 1};
  p.b = {0, 0, 5, 1};
  const auto y = p.norm(detail::kLayerNormReference);
  const double d = std::sqrt(3.5 + 1e-5);
  EXPECT_NEAR(y[0], -2 / d, 1e-6);
  EXPECT_NEAR(y[1], -2 / d, 1e-6);
  EXPECT_NEAR(y[2], 5.0, 1e-6);
  EXPECT_NEAR(y[3], 1 + 3 / d, 1e-6);
}

TEST(LayerNorm, VariantsMatchReference) {
  for (const std::int64_t columns : kColumns) {
    const Problem p(5, columns);
    const auto expected = p.norm(detail::kLayerNormReference);
    for (const auto& variant : detail::layer_norm_variants()) {
      const auto y = p.norm(*variant.kernels);
      for (std::size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], expected[i], 4e-6f * (1 + std::abs(expected[i])))
            << isa_name(variant.isa) << " " << columns << " at " << i;
      }
    }
  }
}

// With a mean of 1000 deviations, the square of the values has no digits left for the variance.
TEST(LayerNorm, ALargeMeanCostsNoMoreThanItsRounding) {
  const Problem p(3, 384, 1000.0f);
  const auto expected = p.norm(detail::kLayerNormReference);
  for (const auto& variant : detail::layer_norm_variants()) {
    const auto y = p.norm(*variant.kernels);
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(y[i], expected[i], 2e-3f) << isa_name(variant.isa);
    }
  }
}

TEST(LayerNorm, Int8VariantsEqualNormThenQuantization) {
  for (const std::int64_t columns : kColumns) {
    const Problem p(6, columns);
    for (const auto& variant : detail::layer_norm_variants()) {
      for (const std::int64_t group_size : {8, 32, 128, 136}) {
        SCOPED_TRACE(testing::Message()
                     << isa_name(variant.isa) << " " << columns << " " << group_size);
        const std::int64_t groups = (columns + group_size - 1) / group_size;
        Quantized q(p.rows, group_size, groups), expected = q;
        EXPECT_TRUE(norm_int8(*variant.kernels, p, group_size, groups, q));
        const auto y = p.norm(*variant.kernels);
        EXPECT_TRUE(quantize_rows_int8(y.data(), p.rows, columns, group_size, groups,
                                       expected.values.data(), expected.scales.data(),
                                       expected.sums.data()));
        EXPECT_EQ(q, expected);
      }
    }
  }
}

TEST(LayerNorm, NonFiniteRowsAreReportedAndZero) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Problem p(2, 37);
    p.x[5] = bad;
    for (const auto& variant : detail::layer_norm_variants()) {
      Quantized q(2, 40, 1);
      EXPECT_FALSE(norm_int8(*variant.kernels, p, 40, 1, q)) << isa_name(variant.isa);
      EXPECT_EQ(q.scales[0], 0.0f);
      EXPECT_GT(q.scales[1], 0.0f);
    }
  }
}

TEST(LayerNorm, PublicFunctionsCoverAllRowsOnAllThreads) {
  const Problem p(301, 257);
  const auto expected = p.norm(detail::kLayerNormReference);
  std::vector<float> y(p.x.size());
  layer_norm(p.x.data(), p.w.data(), p.b.data(), p.rows, p.columns, kEps, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) {
    ASSERT_NEAR(y[i], expected[i], 4e-6f * (1 + std::abs(expected[i])));
  }
  Quantized q(p.rows, 64, 5), separate = q;
  const RowSink sink{nullptr, nullptr, q.values.data(), q.scales.data(), q.sums.data(), 64, 5};
  EXPECT_TRUE(
      layer_norm(Stream::cpu(), p.x.data(), p.w.data(), p.b.data(), p.rows, p.columns, kEps, sink));
  EXPECT_TRUE(quantize_rows_int8(y.data(), p.rows, p.columns, 64, 5, separate.values.data(),
                                 separate.scales.data(), separate.sums.data()));
  EXPECT_EQ(q, separate);
  auto in_place = p.x;
  layer_norm(in_place.data(), p.w.data(), p.b.data(), p.rows, p.columns, kEps, in_place.data());
  EXPECT_EQ(in_place, y);
}

}  // namespace
}  // namespace aquatint::kernels
