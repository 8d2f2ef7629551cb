#include "kernels/quantize_rows/quantize_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/dtype.h"

namespace aquatint::kernels {
namespace {

struct Case {
  std::int64_t rows, columns, group_size;
  std::int64_t groups() const { return (columns + group_size - 1) / group_size; }
  std::int64_t padded() const { return groups() * group_size; }
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {{1, 1, 8},   {3, 16, 16},    {2, 24, 24},   {5, 24, 8},
                                        {4, 48, 32}, {7, 100, 32},   {17, 257, 64}, {2, 384, 128},
                                        {3, 72, 24}, {1, 2048, 2048}};
  return all;
}

std::vector<float> random_rows(const Case& c) {
  std::mt19937 random(static_cast<unsigned>(c.rows * 7919 + c.columns));
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::vector<float> x(static_cast<std::size_t>(c.rows * c.columns));
  for (float& v : x) v = normal(random);
  return x;
}

struct Int8Result {
  explicit Int8Result(const Case& c)
      : values(static_cast<std::size_t>(c.rows * c.padded()), 99),
        scales(static_cast<std::size_t>(c.rows), -1.0f),
        sums(static_cast<std::size_t>(c.rows * c.groups()), -1) {}
  std::vector<std::int8_t> values;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
};

bool run(QuantizeRowsInt8Fn fn, const Case& c, const std::vector<float>& x, Int8Result* r) {
  const QuantizeRowsInt8Args args{x.data(),         c.columns,        c.group_size,  c.groups(),
                                  r->values.data(), r->scales.data(), r->sums.data()};
  return fn(args, 0, c.rows);
}

std::vector<QuantizeRowsVariant> runnable() {
  std::vector<QuantizeRowsVariant> kept;
  for (const auto& variant : quantize_rows_variants()) {
    if (variant.isa <= detected_isa()) kept.push_back(variant);
  }
  return kept;
}

// Calls check(variant, case, x, at) for rows x that are not finite at one place.
template <typename Check>
void for_each_bad_value(const Check& check) {
  const Case c{3, 37, 16};
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{40}, std::size_t{110}}) {
      std::vector<float> x = random_rows(c);
      x[at] = bad;
      for (const auto& variant : runnable()) {
        check(variant, c, x, at);
      }
    }
  }
}

TEST(QuantizeRowsInt8, EveryVariantGivesTheBitsOfTheReference) {
  for (const Case& c : cases()) {
    std::vector<float> x = random_rows(c);
    if (c.rows > 2) {
      std::fill(x.begin() + c.columns, x.begin() + 2 * c.columns, 0.0f);
      x[0] = 1e-38f;
    }
    Int8Result expected(c);
    EXPECT_TRUE(run(runnable()[0].int8, c, x, &expected));
    for (const auto& variant : runnable()) {
      SCOPED_TRACE(std::string(isa_name(variant.isa)) + " K " + std::to_string(c.columns));
      Int8Result actual(c);
      EXPECT_TRUE(run(variant.int8, c, x, &actual));
      EXPECT_EQ(actual.values, expected.values);
      EXPECT_EQ(actual.scales, expected.scales);
      EXPECT_EQ(actual.sums, expected.sums);
    }
  }
}

TEST(QuantizeRowsInt8, FollowsItsFormula) {
  const Case c{1, 5, 8};
  const std::vector<float> x = {-2.0f, 1.0f, 0.0f, 0.5f, 0.0079f};
  Int8Result r(c);
  EXPECT_TRUE(
      quantize_rows_int8(x.data(), 1, 5, 8, 1, r.values.data(), r.scales.data(), r.sums.data()));
  EXPECT_EQ(r.scales[0], 2.0f / 127.0f);
  // 63.5 and 31.75 and 0.50165: ties go to even.
  EXPECT_EQ(r.values, (std::vector<std::int8_t>{-127, 64, 0, 32, 1, 0, 0, 0}));
  EXPECT_EQ(r.sums[0], -30);
}

TEST(QuantizeRowsStatic, EveryVariantGivesTheBitsOfTheReference) {
  for (const Case& c : cases()) {
    std::vector<float> x = random_rows(c);
    x[0] = 3e38f;  // beyond what an int32 holds
    x.back() = -3e38f;
    for (const std::int32_t zero_point : {0, -128, 37, 127}) {
      Int8Result expected(c);
      for (const auto& variant : runnable()) {
        SCOPED_TRACE(std::string(isa_name(variant.isa)) + " K " + std::to_string(c.columns));
        Int8Result actual(c);
        const QuantizeRowsStaticArgs args{
            x.data(), c.columns,  c.group_size,         c.groups(),
            20.0f,    zero_point, actual.values.data(), actual.sums.data()};
        EXPECT_TRUE(variant.int8_static(args, 0, c.rows));
        if (variant.isa == Isa::kReference) expected = actual;
        EXPECT_EQ(actual.values, expected.values);
        EXPECT_EQ(actual.sums, expected.sums);
      }
    }
  }
}

TEST(QuantizeRowsStatic, FollowsItsFormula) {
  const std::vector<float> x = {-2.0f, 1.0f, 0.0f, 0.25f, 3e30f, -3e30f};
  std::vector<std::int8_t> values(8, 99);
  std::int32_t sum = 0;
  EXPECT_TRUE(quantize_rows_static(x.data(), 1, 6, 8, 1, 0.5f, 3, values.data(), &sum));
  // 0.25 / 0.5 is a tie and goes to even.
  EXPECT_EQ(values, (std::vector<std::int8_t>{-1, 5, 3, 3, 127, -128, 0, 0}));
  EXPECT_EQ(sum, 9);
}

TEST(QuantizeRowsStatic, ReportsWhatIsNotFinite) {
  for_each_bad_value([](const auto& variant, const Case& c, const auto& x, std::size_t) {
    Int8Result r(c);
    const QuantizeRowsStaticArgs args{x.data(), c.columns, c.group_size,    c.groups(),
                                      1.0f,     0,         r.values.data(), r.sums.data()};
    EXPECT_FALSE(variant.int8_static(args, 0, c.rows)) << isa_name(variant.isa);
  });
}

TEST(QuantizeRowsInt8, TinyRowsAreZero) {
  const Case c{1, 8, 8};
  const std::vector<float> x(8, 1e-39f);
  for (const auto& variant : runnable()) {
    Int8Result r(c);
    EXPECT_TRUE(run(variant.int8, c, x, &r));
    EXPECT_EQ(r.scales[0], 0.0f);
    EXPECT_EQ(r.values, std::vector<std::int8_t>(8, 0));
  }
}

TEST(QuantizeRowsInt8, ReportsWhatIsNotFinite) {
  for_each_bad_value([](const auto& variant, const Case& c, const auto& x, std::size_t at) {
    Int8Result r(c);
    EXPECT_FALSE(run(variant.int8, c, x, &r)) << isa_name(variant.isa);
    EXPECT_EQ(r.scales[at / 37], 0.0f);
    EXPECT_EQ(r.values[at / 37 * 48], 0);
  });
}

TEST(RoundRowsBf16, EveryVariantRoundsLikeTheReference) {
  for (const Case& c : cases()) {
    const std::vector<float> x = random_rows(c);
    for (const auto& variant : runnable()) {
      SCOPED_TRACE(std::string(isa_name(variant.isa)) + " K " + std::to_string(c.columns));
      std::vector<std::uint16_t> values(static_cast<std::size_t>(c.rows * c.padded()), 77);
      std::vector<float> sums(static_cast<std::size_t>(c.rows * c.groups()), -1.0f);
      const RoundRowsBf16Args args{x.data(),   c.columns,     c.group_size,
                                   c.groups(), values.data(), sums.data()};
      EXPECT_TRUE(variant.bf16(args, 0, c.rows));
      std::vector<double> expected(sums.size(), 0.0);
      constexpr std::int64_t kPlace[4] = {0, 2, 1, 3};
      for (std::int64_t i = 0; i < c.rows * c.padded(); ++i) {
        const std::int64_t m = i / c.padded();
        const std::int64_t k = i % c.padded();
        const float value = k < c.columns ? x[static_cast<std::size_t>(m * c.columns + k)] : 0.0f;
        ASSERT_EQ(values[static_cast<std::size_t>(i / 4 * 4 + kPlace[k % 4])], f32_to_bf16(value));
        expected[static_cast<std::size_t>(m * c.groups() + k / c.group_size)] +=
            static_cast<double>(bf16_to_f32(f32_to_bf16(value)));
      }
      for (std::size_t i = 0; i < sums.size(); ++i) {
        EXPECT_NEAR(static_cast<double>(sums[i]), expected[i], 1e-3);
      }
    }
  }
}

TEST(RoundRowsBf16, ReportsWhatIsNotFinite) {
  const Case c{3, 37, 16};
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::max()}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{40}, std::size_t{110}}) {
      std::vector<float> x = random_rows(c);
      x[at] = bad;
      for (const auto& variant : runnable()) {
        std::vector<std::uint16_t> values(static_cast<std::size_t>(c.rows * c.padded()));
        std::vector<float> sums(static_cast<std::size_t>(c.rows * c.groups()));
        const RoundRowsBf16Args args{x.data(),   c.columns,     c.group_size,
                                     c.groups(), values.data(), sums.data()};
        EXPECT_FALSE(variant.bf16(args, 0, c.rows)) << isa_name(variant.isa);
      }
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels
