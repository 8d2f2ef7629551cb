#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda_testing.h"
#include "kernels/gated_norm/gated_norm.h"
#include "kernels/gated_norm/gated_norm_variants.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;
using testing::random_values;

// A lane adds dv / 32 squares, all positive, and five sums follow: half of that many roundings
// reach the result, with about ten more for root, quotients, products and the exponential.
float relative_bound(std::int64_t dv) {
  return (static_cast<float>(dv) / 64 + 14) * 0x1p-24F;
}

TEST(GatedNormCuda, MatchesTheReferenceOverOddSizes) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  constexpr std::int64_t kRows = 3, kHeads = 3;
  for (const std::int64_t dv : {1, 3, 8, 31, 32, 33, 100, 127, 128, 129, 256, 512, 513, 2052}) {
    const std::int64_t n = kRows * kHeads * dv;
    const auto o = random_values(n, 1, 3.0F), gate = random_values(n, 2, 20.0F);
    const auto w = random_values(dv, 3, 1.0F);
    const DeviceArray d_o(o), d_gate(gate), d_w(w);
    for (int options = 0; options < 4; ++options) {
      const bool with_gate = (options & 1) != 0, with_w = (options & 2) != 0;
      std::vector<float> expected(o.size());
      gated_norm_reference({o.data(), with_gate ? gate.data() : nullptr,
                            with_w ? w.data() : nullptr, dv, 1e-6F, expected.data()},
                           0, kRows * kHeads);
      const auto y = DeviceArray<float>::poisoned(o.size());
      gated_rms_norm(gpu_stream(), d_o.data(), with_gate ? d_gate.data() : nullptr,
                     with_w ? d_w.data() : nullptr, kRows, kHeads, dv, 1e-6F, y.data());
      const auto actual = y.host();
      for (std::size_t i = 0; i < actual.size(); ++i) {
        ASSERT_NEAR(actual[i], expected[i], relative_bound(dv) * std::abs(expected[i]) + 1e-12F)
            << "dv " << dv << " options " << options << " value " << i;
      }
    }
  }
}

TEST(GatedNormCuda, MayWriteOverItsInputsAndReadUnalignedOnes) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  constexpr std::int64_t kVectors = 5, kDv = 64;
  const auto o = random_values(kVectors * kDv, 5, 1.0F), gate = random_values(kVectors * kDv, 6, 1);
  const auto apart = DeviceArray<float>::poisoned(o.size());
  const DeviceArray over_o(o), over_gate(gate), d_o(o), d_gate(gate);
  const auto run = [&](const float* from, const float* by, float* to) {
    gated_rms_norm(gpu_stream(), from, by, nullptr, kVectors, 1, kDv, 1e-5F, to);
  };
  run(d_o.data(), d_gate.data(), apart.data());
  run(over_o.data(), d_gate.data(), over_o.data());
  run(d_o.data(), over_gate.data(), over_gate.data());
  EXPECT_EQ(over_o.host(), apart.host());
  EXPECT_EQ(over_gate.host(), apart.host());

  std::vector<float> shifted(o);
  shifted.insert(shifted.begin(), NAN);
  const DeviceArray d_shifted(shifted);
  const auto y = DeviceArray<float>::poisoned(o.size());
  run(d_shifted.data() + 1, d_gate.data(), y.data());
  const auto actual = y.host(), expected = apart.host();
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], 2 * relative_bound(kDv) * std::abs(expected[i]) + 1e-12F);
  }
}

TEST(GatedNormCuda, ExtremeGatesStayFiniteAndNanStaysNan) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  std::vector<float> gate(20, -3e38F);
  gate[3] = 3e4F;
  gate[4] = NAN;
  const DeviceArray o(std::vector<float>(20, 1.0F)), d_gate(gate);
  const auto y = DeviceArray<float>::poisoned(20);
  gated_rms_norm(gpu_stream(), o.data(), d_gate.data(), nullptr, 1, 1, 20, 0.0F, y.data());
  const auto actual = y.host();
  EXPECT_NEAR(actual[0], 0.0F, 1e-12F);
  EXPECT_FLOAT_EQ(actual[3], 3e4F);
  EXPECT_TRUE(std::isnan(actual[4]));
}

}  // namespace
}  // namespace aquatint::kernels
