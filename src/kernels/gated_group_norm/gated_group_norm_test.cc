#include "kernels/gated_group_norm/gated_group_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/error.h"
#include "kernels/gated_group_norm/gated_group_norm_variants.h"

namespace aquatint::kernels {
namespace {

constexpr GateOrder kOrders[] = {GateOrder::kGateFirst, GateOrder::kNormFirst,
                                 GateOrder::kGateOnly};

std::vector<float> random_values(std::int64_t n, unsigned seed, float deviation) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

TEST(GatedGroupNorm, EveryVariantAgreesWithTheReferenceOverOddSizes) {
  constexpr std::int64_t kRows = 5, kGap = 3;
  for (const std::int64_t size : {1, 3, 8, 15, 16, 17, 31, 64, 100, 513}) {
    for (const std::int64_t groups : {1, 3}) {
      const std::int64_t columns = groups * size, ld = columns + kGap;
      const auto x = random_values(kRows * columns, 1, 3.0F);
      const auto gate = random_values(kRows * ld, 2, 20.0F);
      const auto w = random_values(columns, 3, 1.0F);
      for (const GateOrder order : kOrders) {
        std::vector<float> expected(x.size());
        GatedGroupNormArgs args{order, x.data(), gate.data(),    ld, w.data(), groups,
                                size,  1e-5F,    expected.data()};
        gated_group_norm_reference(args, 0, kRows);
        for (const auto& variant : gated_group_norm_variants()) {
          if (variant.isa > detected_isa()) continue;
          std::vector<float> actual(x.size(), NAN);
          args.y = actual.data();
          variant.run(args, 0, 2);
          variant.run(args, 2, kRows);
          for (std::size_t i = 0; i < actual.size(); ++i) {
            ASSERT_NEAR(actual[i], expected[i], 2e-6F * std::abs(expected[i]) + 1e-12F)
                << isa_name(variant.isa) << " size " << size << " groups " << groups << " order "
                << static_cast<int>(order) << " value " << i;
          }
        }
      }
    }
  }
}

TEST(GatedGroupNorm, TheOrderIsAnother) {
  // silu(1) = 0.7310586 and silu(2) = 1.7615942; two groups of one channel each show that groups
  // are normalized apart.
  const double one = 0.731058578630, two = 1.761594155956;
  const std::vector<float> x = {3, 4}, gate = {1, 2}, w = {2, 5};
  const auto run = [&](GateOrder order, std::int64_t groups) {
    std::vector<float> y(2);
    gated_group_norm(order, x.data(), gate.data(), 2, w.data(), 1, groups, 2 / groups, 0.0F,
                     y.data());
    return y;
  };
  const double mean = std::sqrt((9 * one * one + 16 * two * two) / 2);
  EXPECT_NEAR(run(GateOrder::kGateFirst, 1)[0], 2 * 3 * one / mean, 1e-6);
  EXPECT_NEAR(run(GateOrder::kGateFirst, 1)[1], 5 * 4 * two / mean, 1e-5);
  EXPECT_NEAR(run(GateOrder::kNormFirst, 1)[0], 2 * 3 / std::sqrt(12.5) * one, 1e-6);
  EXPECT_NEAR(run(GateOrder::kNormFirst, 1)[1], 5 * 4 / std::sqrt(12.5) * two, 1e-5);
  EXPECT_NEAR(run(GateOrder::kGateFirst, 2)[1], 5, 1e-5);
  EXPECT_NEAR(run(GateOrder::kNormFirst, 2)[0], 2 * one, 1e-6);
  EXPECT_NEAR(run(GateOrder::kGateOnly, 1)[1], 4 * two, 1e-6);
}

TEST(GatedGroupNorm, MayWriteOverItsInput) {
  const auto x = random_values(9 * 4 * 37, 5, 1.0F), gate = random_values(9 * 4 * 37, 6, 1.0F);
  const auto w = random_values(std::int64_t{4} * 37, 7, 1.0F);
  for (const GateOrder order : kOrders) {
    std::vector<float> apart(x.size()), in_place = x;
    gated_group_norm(order, x.data(), gate.data(), 148, w.data(), 9, 4, 37, 1e-5F, apart.data());
    gated_group_norm(order, in_place.data(), gate.data(), 148, w.data(), 9, 4, 37, 1e-5F,
                     in_place.data());
    EXPECT_EQ(apart, in_place);
  }
}

TEST(GatedGroupNorm, RejectsSizesAndArraysThatCannotBe) {
  float x = 0;
  const auto call = [&](const float* input, const float* w, std::int64_t ld, std::int64_t rows,
                        std::int64_t groups) {
    gated_group_norm(GateOrder::kGateFirst, input, &x, ld, w, rows, groups, 1, 0, &x);
  };
  EXPECT_NO_THROW(call(nullptr, nullptr, 1, 0, 1));
  EXPECT_THROW(call(&x, &x, 1, 1, 0), Error);
  EXPECT_THROW(call(&x, &x, 1, 1, 2), Error);
  EXPECT_THROW(call(&x, &x, 1, -1, 1), Error);
  EXPECT_THROW(call(nullptr, &x, 1, 1, 1), Error);
  EXPECT_THROW(call(&x, nullptr, 1, 1, 1), Error);
}

}  // namespace
}  // namespace aquatint::kernels
