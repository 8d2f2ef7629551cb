#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/cuda_testing.h"
#include "kernels/rope/rope.h"
#include "kernels/rope/rope_variants.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

TEST(RopeCuda, MatchesTheReferenceOverOddSizes) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  const std::vector<std::int32_t> positions = {0, 1, 2, 17, 2047, 131071, 16777216};
  const auto rows = static_cast<std::int64_t>(positions.size());
  const DeviceArray d_positions(positions);
  for (const std::int64_t head_dim : {2, 6, 30, 64, 66, 128, 258, 520}) {
    for (const std::int64_t heads : {1, 3, 8, 32}) {
      const auto frequencies = rope_inverse_frequencies(head_dim, 10000);
      std::mt19937 generator(7);
      std::normal_distribution<float> normal;
      std::vector<float> x(static_cast<std::size_t>(rows * heads * head_dim));
      for (float& value : x) value = normal(generator);
      auto expected = x;
      rope_reference({expected.data(), heads, head_dim / 2, positions.data(), frequencies.data()},
                     0, rows);
      const DeviceArray d_x(x), d_frequencies(frequencies);
      rope(gpu_stream(), d_x.data(), rows, heads, head_dim, d_positions.data(),
           d_frequencies.data());
      const auto actual = d_x.host();
      const auto half = static_cast<std::size_t>(head_dim / 2);
      for (std::size_t i = 0; i < x.size(); ++i) {
        // Sine and cosine are rounded, then one product and the sum: three half units of the pair.
        const std::size_t other = i / half % 2 == 0 ? i + half : i - half;
        const float bound = 3 * 0x1p-24F * (std::abs(x[i]) + std::abs(x[other]));
        ASSERT_NEAR(actual[i], expected[i], bound)
            << "head_dim " << head_dim << " heads " << heads << " value " << i;
      }
    }
  }
}

TEST(RopeCuda, SinesAndCosinesAreExactToFloat32) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  // Pair (1, 0) becomes (cos, sin).
  constexpr std::int64_t kAngles = 100000;
  std::vector<float> angles(kAngles), x(2 * kAngles, 0.0F);
  for (std::size_t i = 0; i < angles.size(); ++i) {
    angles[i] = static_cast<float>(i) * (i % 2 == 0 ? 0.0314159F : 97.3F) - 400.0F;
  }
  std::fill(x.begin(), x.begin() + kAngles, 1.0F);
  const DeviceArray d_x(x), d_angles(angles);
  const DeviceArray position(std::vector<std::int32_t>{1});
  rope(gpu_stream(), d_x.data(), 1, 1, 2 * kAngles, position.data(), d_angles.data());
  const auto actual = d_x.host();
  for (std::size_t i = 0; i < angles.size(); ++i) {
    const double angle = angles[i];
    // Half a unit of numbers below 1, and what float64 leaves of the angle.
    const double bound = 0x1p-25 + std::abs(angle) * 0x1p-51;
    ASSERT_NEAR(actual[i], std::cos(angle), bound) << angle;
    ASSERT_NEAR(actual[i + kAngles], std::sin(angle), bound) << angle;
  }
}

}  // namespace
}  // namespace aquatint::kernels
