#include "kernels/gated_norm/gated_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/error.h"
#include "kernels/gated_norm/gated_norm_variants.h"

namespace aquatint::kernels {
namespace {

std::vector<float> random_values(std::size_t n, unsigned seed, float deviation) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(n);
  for (float& value : values) value = normal(generator);
  return values;
}

TEST(GatedNorm, EveryVariantAgreesWithTheReferenceOverOddSizes) {
  constexpr std::int64_t kVectors = 7;
  for (const std::int64_t dv : {1, 3, 8, 15, 16, 17, 31, 64, 65, 100, 127, 128, 256, 511, 513}) {
    const auto n = static_cast<std::size_t>(kVectors * dv);
    const auto o = random_values(n, 1, 3.0F);
    const auto gate = random_values(n, 2, 20.0F);
    const auto w = random_values(static_cast<std::size_t>(dv), 3, 1.0F);
    for (int options = 0; options < 4; ++options) {
      std::vector<float> expected(n);
      GatedNormArgs args{o.data(),
                         (options & 1) != 0 ? gate.data() : nullptr,
                         (options & 2) != 0 ? w.data() : nullptr,
                         dv,
                         1e-6F,
                         expected.data()};
      gated_norm_reference(args, 0, kVectors);
      for (const auto& variant : gated_norm_variants()) {
        if (variant.isa > detected_isa()) continue;
        std::vector<float> actual(n, NAN);
        args.y = actual.data();
        variant.run(args, 0, 3);
        variant.run(args, 3, kVectors);
        for (std::size_t i = 0; i < n; ++i) {
          ASSERT_NEAR(actual[i], expected[i], 1e-6F * std::abs(expected[i]) + 1e-12F)
              << isa_name(variant.isa) << " dv " << dv << " options " << options << " value " << i;
        }
      }
    }
  }
}

TEST(GatedNorm, NormalizesBeforeItGates) {
  // Head of two values 3 and 4: mean square 12.5. silu(1) = 0.7310586.
  const std::vector<float> o = {3, 4}, gate = {1, 0}, w = {2, 5};
  std::vector<float> y(2);
  gated_rms_norm(o.data(), gate.data(), w.data(), 1, 1, 2, 0.0F, y.data());
  EXPECT_NEAR(y[0], 2 * 3 / std::sqrt(12.5) * 0.731058578630, 1e-6);
  EXPECT_EQ(y[1], 0.0F);
}

TEST(GatedNorm, TheExponentialIsAccurateOverItsWholeRange) {
  // With o = 1 and eps = 0 the output is silu(gate) alone.
  std::vector<float> gate;
  for (float g = -87.0F; g < 88.0F; g += 0.00137F) gate.push_back(g);
  const std::vector<float> ones(gate.size(), 1.0F);
  for (const auto& variant : gated_norm_variants()) {
    if (variant.isa > detected_isa()) continue;
    std::vector<float> y(gate.size());
    const auto n = static_cast<std::int64_t>(gate.size());
    variant.run({ones.data(), gate.data(), nullptr, n, 0.0F, y.data()}, 0, 1);
    double worst = 0;
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double g = gate[i];
      const double expected = g / (1 + std::exp(-g));
      if (expected != 0) worst = std::max(worst, std::abs(y[i] / expected - 1));
    }
    EXPECT_LT(worst, 5e-7) << isa_name(variant.isa);
  }
}

TEST(GatedNorm, ExtremeGatesStayFiniteAndNanStaysNan) {
  const std::vector<float> o(20, 1.0F);
  std::vector<float> gate(20, -3e38F);
  gate[3] = 3e4F;
  gate[4] = NAN;
  for (const auto& variant : gated_norm_variants()) {
    if (variant.isa > detected_isa()) continue;
    std::vector<float> y(20);
    variant.run({o.data(), gate.data(), nullptr, 20, 0.0F, y.data()}, 0, 1);
    EXPECT_NEAR(y[0], 0.0F, 1.5F) << isa_name(variant.isa);
    EXPECT_FLOAT_EQ(y[3], 3e4F);
    EXPECT_TRUE(std::isnan(y[4]));
  }
}

TEST(GatedNorm, MayWriteOverItsInput) {
  const auto o = random_values(std::size_t{9} * 4 * 37, 5, 1.0F);
  const auto gate = random_values(o.size(), 6, 1.0F);
  std::vector<float> apart(o.size()), in_place = o;
  gated_rms_norm(o.data(), gate.data(), nullptr, 9, 4, 37, 1e-5F, apart.data());
  gated_rms_norm(in_place.data(), gate.data(), nullptr, 9, 4, 37, 1e-5F, in_place.data());
  EXPECT_EQ(apart, in_place);
}

TEST(GatedNorm, RejectsSizesAndArraysThatCannotBe) {
  float x = 0;
  EXPECT_NO_THROW(gated_rms_norm(nullptr, nullptr, nullptr, 0, 1, 1, 0, nullptr));
  EXPECT_THROW(gated_rms_norm(&x, nullptr, nullptr, 1, 0, 1, 0, &x), Error);
  EXPECT_THROW(gated_rms_norm(&x, nullptr, nullptr, -1, 1, 1, 0, &x), Error);
  EXPECT_THROW(gated_rms_norm(nullptr, nullptr, nullptr, 1, 1, 1, 0, &x), Error);
}

}  // namespace
}  // namespace aquatint::kernels
