#include "kernels/rms_norm/rms_norm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/rms_norm/variants.h"

namespace aquatint::kernels {
namespace {

using detail::RmsNormArgs;

constexpr float kEps = 1e-5f;
const std::vector<std::int64_t> kColumns = {1, 3, 8, 15, 16, 17, 63, 64, 65, 130, 384, 1000, 2048};

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

std::vector<float> random_floats(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size(n));
  for (float& v : values) v = normal(generator);
  return values;
}

void expect_close(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], 2e-6f * (1 + std::abs(expected[i]))) << i;
  }
}

std::vector<float> norm_with(const detail::RmsNormKernels& kernels, const std::vector<float>& x,
                             const float* w, std::int64_t rows, std::int64_t columns) {
  std::vector<float> y(x.size());
  RmsNormArgs args;
  args.x = x.data();
  args.w = w;
  args.columns = columns;
  args.eps = kEps;
  args.y = y.data();
  kernels.norm(args, 0, rows);
  return y;
}

// The dynamic quantization as its contract states it.
struct Quantized {
  std::vector<std::int8_t> values;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
  bool operator==(const Quantized&) const = default;
};

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

bool norm_int8_with(const detail::RmsNormKernels& kernels, const std::vector<float>& x,
                    const float* w, std::int64_t rows, std::int64_t columns,
                    std::int64_t group_size, std::int64_t groups, Quantized& q) {
  q = {std::vector<std::int8_t>(size(rows * group_size * groups), 77),
       std::vector<float>(size(rows), -1), std::vector<std::int32_t>(size(rows * groups), -1)};
  std::vector<float> buffer(size(columns));
  RmsNormArgs args;
  args.x = x.data();
  args.w = w;
  args.columns = columns;
  args.eps = kEps;
  args.y = buffer.data();
  args.group_size = group_size;
  args.groups = groups;
  args.values = q.values.data();
  args.scales = q.scales.data();
  args.group_sums = q.sums.data();
  return kernels.norm_int8(args, 0, rows);
}

TEST(RmsNorm, VariantsMatchReference) {
  constexpr std::int64_t kRows = 5;
  for (const std::int64_t columns : kColumns) {
    const auto x = random_floats(kRows * columns, 1);
    const auto w = random_floats(columns, 2);
    for (const auto& variant : detail::rms_norm_variants()) {
      SCOPED_TRACE(testing::Message() << isa_name(variant.isa) << " " << columns);
      for (const float* weight : {w.data(), static_cast<const float*>(nullptr)}) {
        expect_close(norm_with(*variant.kernels, x, weight, kRows, columns),
                     norm_with(detail::kRmsNormReference, x, weight, kRows, columns));
      }
    }
  }
}

TEST(RmsNorm, AddVariantsEqualAdditionThenNorm) {
  constexpr std::int64_t kRows = 4;
  for (const std::int64_t columns : kColumns) {
    const auto h = random_floats(kRows * columns, 3);
    const auto delta = random_floats(kRows * columns, 4);
    const auto w = random_floats(columns, 5);
    std::vector<float> sum(h.size());
    for (std::size_t i = 0; i < h.size(); ++i) sum[i] = h[i] + delta[i];
    for (const auto& variant : detail::rms_norm_variants()) {
      SCOPED_TRACE(testing::Message() << isa_name(variant.isa) << " " << columns);
      auto residual = h;
      std::vector<float> y(h.size());
      RmsNormArgs args;
      args.x = delta.data();
      args.w = w.data();
      args.columns = columns;
      args.eps = kEps;
      args.residual = residual.data();
      args.y = y.data();
      variant.kernels->add_norm(args, 0, kRows);
      EXPECT_EQ(residual, sum);
      EXPECT_EQ(y, norm_with(*variant.kernels, sum, w.data(), kRows, columns));
    }
  }
}

TEST(RmsNorm, Int8VariantsEqualNormThenQuantization) {
  constexpr std::int64_t kRows = 6;
  for (const std::int64_t columns : kColumns) {
    auto x = random_floats(kRows * columns, 6);
    std::fill_n(x.begin() + columns, columns, 0.0f);
    const auto w = random_floats(columns, 7);
    for (const auto& variant : detail::rms_norm_variants()) {
      for (const std::int64_t group_size : {8, 32, 128, 136}) {
        SCOPED_TRACE(testing::Message()
                     << isa_name(variant.isa) << " " << columns << " " << group_size);
        const std::int64_t groups = (columns + group_size - 1) / group_size;
        Quantized q;
        EXPECT_TRUE(
            norm_int8_with(*variant.kernels, x, w.data(), kRows, columns, group_size, groups, q));
        const auto y = norm_with(*variant.kernels, x, w.data(), kRows, columns);
        EXPECT_EQ(q, quantize(y, kRows, columns, group_size, groups));
      }
    }
  }
}

TEST(RmsNorm, Int8StaticVariantsEqualNormThenDivision) {
  constexpr std::int64_t kRows = 3;
  for (const std::int64_t columns : kColumns) {
    const auto x = random_floats(kRows * columns, 8);
    for (const auto& variant : detail::rms_norm_variants()) {
      for (const float scale : {0.0171f, 1e-3f, 1e-20f}) {
        std::vector<std::int8_t> values(x.size());
        std::vector<float> buffer(size(columns));
        RmsNormArgs args;
        args.x = x.data();
        args.columns = columns;
        args.eps = kEps;
        args.y = buffer.data();
        args.values = values.data();
        args.scale = scale;
        EXPECT_TRUE(variant.kernels->norm_int8_static(args, 0, kRows));
        const auto y = norm_with(*variant.kernels, x, nullptr, kRows, columns);
        for (std::size_t i = 0; i < y.size(); ++i) {
          const float q = std::clamp(std::rint(y[i] / scale), -128.0f, 127.0f);
          ASSERT_EQ(values[i], static_cast<std::int8_t>(q)) << isa_name(variant.isa) << " " << i;
        }
      }
    }
  }
}

TEST(RmsNorm, NonFiniteRowsAreReportedAndZero) {
  constexpr std::int64_t kColumnsHere = 37;
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    auto x = random_floats(2 * kColumnsHere, 9);
    x[5] = bad;
    for (const auto& variant : detail::rms_norm_variants()) {
      Quantized q;
      EXPECT_FALSE(norm_int8_with(*variant.kernels, x, nullptr, 2, kColumnsHere, 40, 1, q));
      const auto y = norm_with(*variant.kernels, x, nullptr, 2, kColumnsHere);
      EXPECT_EQ(q, quantize(y, 2, kColumnsHere, 40, 1)) << isa_name(variant.isa);
      EXPECT_EQ(q.scales[0], 0.0f);
      EXPECT_GT(q.scales[1], 0.0f);
    }
    std::vector<std::int8_t> values(x.size());
    EXPECT_FALSE(rms_norm_int8_static(x.data(), nullptr, 2, kColumnsHere, kEps, 1, values.data()));
  }
}

TEST(RmsNorm, PublicFunctionsCoverAllRowsOnAllThreads) {
  constexpr std::int64_t kRows = 301, kColumnsHere = 257, kGroup = 64, kGroups = 5;
  const auto x = random_floats(kRows * kColumnsHere, 10);
  const auto w = random_floats(kColumnsHere, 11);
  std::vector<float> y(x.size());
  rms_norm(x.data(), w.data(), kRows, kColumnsHere, kEps, y.data());
  expect_close(y, norm_with(detail::kRmsNormReference, x, w.data(), kRows, kColumnsHere));
  Quantized q = quantize(y, kRows, kColumnsHere, kGroup, kGroups), actual = q;
  std::fill(actual.values.begin(), actual.values.end(), std::int8_t{5});
  EXPECT_TRUE(rms_norm_int8(x.data(), w.data(), kRows, kColumnsHere, kEps, kGroup, kGroups,
                            actual.values.data(), actual.scales.data(), actual.sums.data()));
  EXPECT_EQ(actual, q);
  std::vector<float> residual(x.size(), 0.0f), fused(x.size());
  add_rms_norm(residual.data(), x.data(), w.data(), kRows, kColumnsHere, kEps, fused.data());
  EXPECT_EQ(fused, y);
  // In place.
  auto in_place = x;
  rms_norm(in_place.data(), w.data(), kRows, kColumnsHere, kEps, in_place.data());
  EXPECT_EQ(in_place, y);
}

}  // namespace
}  // namespace aquatint::kernels
