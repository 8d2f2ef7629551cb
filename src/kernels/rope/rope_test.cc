#include "kernels/rope/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/error.h"
#include "kernels/rope/rope_variants.h"

namespace aquatint::kernels {
namespace {

TEST(Rope, EveryVariantAgreesWithTheReferenceOverOddSizes) {
  const std::vector<std::int32_t> positions = {0, 1, 2, 17, 2047, 131071, 16777216};
  const auto rows = static_cast<std::int64_t>(positions.size());
  for (const std::int64_t head_dim : {2, 6, 30, 64, 66, 128, 256, 258, 520}) {
    for (const std::int64_t heads : {1, 3}) {
      const auto frequencies = rope_inverse_frequencies(head_dim, 10000);
      std::mt19937 generator(7);
      std::normal_distribution<float> normal;
      std::vector<float> x(static_cast<std::size_t>(rows * heads * head_dim));
      for (float& value : x) value = normal(generator);
      auto expected = x;
      rope_reference({expected.data(), heads, head_dim / 2, positions.data(), frequencies.data()},
                     0, rows);
      for (const auto& variant : rope_variants()) {
        if (variant.isa > detected_isa()) continue;
        auto actual = x;
        variant.run({actual.data(), heads, head_dim / 2, positions.data(), frequencies.data()}, 0,
                    rows);
        for (std::size_t i = 0; i < x.size(); ++i) {
          ASSERT_NEAR(actual[i], expected[i], 1e-6F)
              << isa_name(variant.isa) << " head_dim " << head_dim << " value " << i;
        }
      }
    }
  }
}

TEST(Rope, SinesAndCosinesAreExactToFloat32) {
  // Pair (1, 0) becomes (cos, sin).
  constexpr std::int64_t kAngles = 100000;
  std::vector<float> angles(kAngles);
  for (std::size_t i = 0; i < angles.size(); ++i) {
    angles[i] = static_cast<float>(i) * 0.0314159F - 400.0F;
  }
  const std::int32_t position = 1;
  for (const auto& variant : rope_variants()) {
    if (variant.isa > detected_isa()) continue;
    std::vector<float> x(2 * kAngles, 0.0F);
    std::fill(x.begin(), x.begin() + kAngles, 1.0F);
    variant.run({x.data(), 1, kAngles, &position, angles.data()}, 0, 1);
    for (std::size_t i = 0; i < angles.size(); ++i) {
      const double angle = angles[i];
      ASSERT_NEAR(x[i], std::cos(angle), 1.2e-7) << isa_name(variant.isa) << " angle " << angle;
      ASSERT_NEAR(x[i + kAngles], std::sin(angle), 1.2e-7) << isa_name(variant.isa) << angle;
    }
  }
}

TEST(Rope, PairsAreHalfAHeadApart) {
  const std::vector<float> frequencies = {1.0F, 0.5F};
  const std::int32_t position = 2;
  std::vector<float> x = {1, 0, 0, 3};
  rope(x.data(), 1, 1, 4, &position, frequencies.data());
  EXPECT_NEAR(x[0], std::cos(2.0), 1e-6);
  EXPECT_NEAR(x[2], std::sin(2.0), 1e-6);
  EXPECT_NEAR(x[1], -3 * std::sin(1.0), 1e-6);
  EXPECT_NEAR(x[3], 3 * std::cos(1.0), 1e-6);
}

TEST(Rope, FrequenciesFollowTheta) {
  const auto frequencies = rope_inverse_frequencies(64, 500000);
  ASSERT_EQ(frequencies.size(), 32U);
  EXPECT_FLOAT_EQ(frequencies[0], 1.0F);
  EXPECT_FLOAT_EQ(frequencies[1], 0.663601238F);
  EXPECT_FLOAT_EQ(frequencies[31], 3.01385815e-06F);
}

TEST(Rope, RejectsSizesAndArraysThatCannotBe) {
  float x[4] = {};
  const std::int32_t position = 0;
  EXPECT_THROW(rope(x, 1, 1, 3, &position, x), Error);
  EXPECT_THROW(rope(x, -1, 1, 2, &position, x), Error);
  EXPECT_THROW(rope(x, 1, 1, 2, nullptr, x), Error);
  EXPECT_THROW(rope_inverse_frequencies(5, 10000), Error);
  EXPECT_THROW(rope_inverse_frequencies(4, 0), Error);
  EXPECT_THROW(rope_inverse_frequencies(4, INFINITY), Error);
}

}  // namespace
}  // namespace aquatint::kernels
