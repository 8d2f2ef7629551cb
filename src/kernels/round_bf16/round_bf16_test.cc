#include "kernels/round_bf16/round_bf16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "base/dtype.h"

namespace aquatint::kernels {
namespace {

TEST(RoundBf16, VariantsEqualReferenceBitForBit) {
  std::mt19937 random(1);
  for (const std::size_t n : {1u, 7u, 15u, 16u, 17u, 33u, 1000u}) {
    std::vector<float> x(n);
    for (float& value : x) {
      do {
        value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
      } while (!std::isfinite(value) || std::abs(value) > 3.3e38f);
    }
    std::vector<std::uint16_t> expected(n), actual(n);
    ASSERT_TRUE(round_bf16_reference(x.data(), static_cast<std::int64_t>(n), expected.data()));
    for (const auto& variant : round_bf16_variants()) {
      if (variant.isa > detected_isa()) continue;
      EXPECT_TRUE(variant.run(x.data(), static_cast<std::int64_t>(n), actual.data()));
      EXPECT_EQ(actual, expected) << isa_name(variant.isa);
    }
  }
}

TEST(RoundBf16, ReportsNanAndInfinityAnywhere) {
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(),
                       std::numeric_limits<float>::infinity(), -3.4e38f};
  for (const auto& variant : round_bf16_variants()) {
    if (variant.isa > detected_isa()) continue;
    for (const float value : bad) {
      for (std::size_t at = 0; at < 37; ++at) {
        std::vector<float> x(37, 1.0f);
        x[at] = value;
        std::vector<std::uint16_t> y(37);
        EXPECT_FALSE(variant.run(x.data(), 37, y.data())) << isa_name(variant.isa) << " " << at;
        EXPECT_EQ(std::isnan(bf16_to_f32(y[at])), std::isnan(value));
      }
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels
