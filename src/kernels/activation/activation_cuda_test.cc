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
    Activation::kIdentity,   Activation::kSilu,        Activation::kRelu,     Activation::kSigmoid,
    Activation::kLogSigmoid, Activation::kSquaredRelu, Activation::kGeluTanh, Activation::kGelu};

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

// Values without gaps.
ProductView view(const DeviceArray<float>& values, std::int64_t columns) {
  ProductView result;
  result.f32 = values.data();
  result.ld = columns;
  return result;
}

TEST_F(ActivationCuda, Elementwise) {
  for (const Activation f : kAll) {
    for (const std::size_t n : {1u, 255u, 257u, 5000u}) {
      auto x = random(n);
      const auto up = random(n);
      const auto columns = static_cast<std::int64_t>(n);
      const DeviceArray dx(x), d_up(up);
      const auto y = DeviceArray<float>::poisoned(n);
      RowSink sink;
      sink.f32 = y.data();
      gated_activation(gpu_stream(), f, view(dx, columns), view(d_up, columns), 1, columns, sink,
                       0);
      std::vector<float> expected(n);
      gated_activation(f, x.data(), up.data(), columns, expected.data());
      expect_near(y.host(), expected, up);
      activate(gpu_stream(), f, dx.data(), columns);
      activate(f, x.data(), columns);
      expect_near(dx.host(), x);
    }
  }
}

TEST_F(ActivationCuda, RowsAsInt8AndBf16) {
  const std::int64_t rows = 5;
  for (const std::int64_t columns : {7, 8, 100, 1408}) {
    const auto n = static_cast<std::size_t>(rows * columns);
    const auto gate = random(n), up = random(n);
    const DeviceArray d_gate(gate), d_up(up);
    const ProductView g = view(d_gate, columns), u = view(d_up, columns);
    std::vector<float> product(n);
    gated_activation(Activation::kSilu, gate.data(), up.data(), rows * columns, product.data());

    const auto y = DeviceArray<std::uint16_t>::poisoned(n);
    RowSink bf16;
    bf16.bf16 = y.data();
    gated_activation(gpu_stream(), Activation::kSilu, g, u, rows, columns, bf16, 1);
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
    gated_activation(gpu_stream(), Activation::kSilu, g, u, rows, columns,
                     {nullptr, nullptr, d_values.data(), d_scales.data(), d_sums.data(), padded, 1},
                     1);
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

// bfloat16 values, and int32 sums with scales, zero points and bias, mean the same values.
TEST_F(ActivationCuda, TakesProductsAsTheyAreLeft) {
  const std::int64_t rows = 3;
  for (const std::int64_t columns : {5, 64, 130}) {
    const std::int64_t ld = columns + (columns % 4 == 0 ? 16 : 3);
    std::uniform_int_distribution<int> any(-100000, 100000), small(-8, 7), halves(1, 0x3f);
    std::vector<std::int32_t> sums(static_cast<std::size_t>(rows * ld)), x_sums(rows);
    std::vector<std::uint16_t> bf16(sums.size());
    std::vector<std::int8_t> zeros(static_cast<std::size_t>(columns));
    for (auto& value : sums) value = any(engine_);
    for (auto& value : x_sums) value = any(engine_);
    for (auto& value : zeros) value = static_cast<std::int8_t>(small(engine_));
    for (auto& value : bf16) value = static_cast<std::uint16_t>(0x3f80 + halves(engine_));
    const auto x_scales = random(rows), w_scales = random(static_cast<std::size_t>(columns));
    const auto bias = random(static_cast<std::size_t>(columns));
    const DeviceArray d_sums(sums), d_x_sums(x_sums);
    const DeviceArray d_bf16(bf16);
    const DeviceArray d_zeros(zeros);
    const DeviceArray d_x_scales(x_scales), d_w_scales(w_scales), d_bias(bias);
    ProductView gate, up;
    gate.bf16 = d_bf16.data();
    up = {nullptr,         nullptr,           d_sums.data(),  ld,           d_x_scales.data(),
          d_x_sums.data(), d_w_scales.data(), d_zeros.data(), d_bias.data()};
    gate.ld = ld;
    const auto y = DeviceArray<float>::poisoned(static_cast<std::size_t>(rows * columns));
    RowSink sink;
    sink.f32 = y.data();
    gated_activation(gpu_stream(), Activation::kRelu, gate, up, rows, columns, sink, 0);
    const auto got = y.host();
    for (std::int64_t m = 0; m < rows; ++m) {
      for (std::int64_t k = 0; k < columns; ++k) {
        const auto at = static_cast<std::size_t>(m * ld + k);
        const auto row = static_cast<std::size_t>(m), column = static_cast<std::size_t>(k);
        const double sum = sums[at] - zeros[column] * x_sums[row];
        const double value =
            sum * static_cast<double>(w_scales[column]) * static_cast<double>(x_scales[row]) +
            static_cast<double>(bias[column]);
        const double expected = value * static_cast<double>(bf16_to_f32(bf16[at]));
        ASSERT_NEAR(got[static_cast<std::size_t>(m * columns + k)], expected,
                    1e-6 * std::abs(expected) + 1e-5);
      }
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels
