// The CUDA forms against the CPU's reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>

#include "base/dtype.h"
#include "kernels/activation/activation.h"
#include "kernels/cuda_testing.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

constexpr Activation kAll[] = {
    Activation::kIdentity,   Activation::kSilu,        Activation::kRelu,    Activation::kSigmoid,
    Activation::kLogSigmoid, Activation::kSquaredRelu, Activation::kGeluTanh};

class ActivationCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  }

  std::vector<float> random(std::size_t n) {
    std::normal_distribution<float> normal(0, 4);
    std::vector<float> values(n);
    for (float& value : values) value = normal(engine_);
    return values;
  }

  std::mt19937 engine_{11};
};

// Functions agree to 2e-6 of their value, or 6e-7 where terms of the size of 1 cancel (gelu far
// below zero); what multiplies them carries the difference along.
void expect_near(const std::vector<float>& a, const std::vector<float>& b,
                 const std::vector<float>& factor = {}) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    const float scale = factor.empty() ? 1.0f : std::max(1.0f, std::abs(factor[i]));
    ASSERT_NEAR(a[i], b[i], 2e-6f * std::abs(b[i]) + 6e-7f * scale) << i;
  }
}

TEST_F(ActivationCuda, Elementwise) {
  for (const Activation f : kAll) {
    for (const std::size_t n : {1u, 255u, 257u, 5000u}) {
      auto x = random(n);
      const auto up = random(n);
      const DeviceArray dx(x), d_up(up);
      const auto y = DeviceArray<float>::poisoned(n);
      gated_activation(gpu_stream(), f, dx.data(), d_up.data(), static_cast<std::int64_t>(n),
                       y.data());
      std::vector<float> expected(n);
      gated_activation(f, x.data(), up.data(), static_cast<std::int64_t>(n), expected.data());
      expect_near(y.host(), expected, up);
      activate(gpu_stream(), f, dx.data(), static_cast<std::int64_t>(n));
      activate(f, x.data(), static_cast<std::int64_t>(n));
      expect_near(dx.host(), x);
    }
  }
}

TEST_F(ActivationCuda, RowsAsInt8AndBf16) {
  const std::int64_t rows = 5;
  for (const std::int64_t columns : {8, 100, 1408}) {
    const auto n = static_cast<std::size_t>(rows * columns);
    const auto gate = random(n), up = random(n);
    const DeviceArray d_gate(gate), d_up(up);
    std::vector<float> product(n);
    gated_activation(Activation::kSilu, gate.data(), up.data(), rows * columns, product.data());

    const auto y = DeviceArray<std::uint16_t>::poisoned(n);
    gated_activation_bf16(gpu_stream(), Activation::kSilu, d_gate.data(), d_up.data(), rows,
                          columns, y.data(), 1);
    const auto rounded = y.host();
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(bf16_to_f32(rounded[i]), product[i], 0.005f * std::abs(product[i]) + 1e-6f);
    }

    const std::int64_t padded = (columns + 7) / 8 * 8;
    const auto size = static_cast<std::size_t>(rows * padded);
    std::vector<std::int8_t> values(size);
    std::vector<float> scales(rows);
    std::vector<std::int32_t> sums(rows);
    gated_activation_int8(Activation::kSilu, gate.data(), up.data(), rows, columns, padded, 1,
                          values.data(), scales.data(), sums.data());
    const auto d_values = DeviceArray<std::int8_t>::poisoned(size);
    const auto d_scales = DeviceArray<float>::poisoned(rows);
    const auto d_sums = DeviceArray<std::int32_t>::poisoned(rows);
    gated_activation_int8(gpu_stream(), Activation::kSilu, d_gate.data(), d_up.data(), rows,
                          columns, padded, 1, d_values.data(), d_scales.data(), d_sums.data(), 1);
    expect_near(d_scales.host(), scales);
    const auto got = d_values.host();
    std::vector<std::int32_t> got_sums(rows);
    for (std::size_t i = 0; i < size; ++i) {
      ASSERT_LE(std::abs(got[i] - values[i]), 1);
      got_sums[i / static_cast<std::size_t>(padded)] += got[i];
    }
    EXPECT_EQ(d_sums.host(), got_sums);
    gpu_stream().check_finite();
  }
}

}  // namespace
}  // namespace aquatint::kernels
