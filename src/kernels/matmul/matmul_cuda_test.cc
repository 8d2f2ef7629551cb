// Products on a GPU against plain loops in double, and the small operations around them.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/dtype.h"
#include "kernels/cuda_testing.h"
#include "kernels/matmul/matmul.h"
#include "kernels/residual_add/residual_add.h"
#include "kernels/round_bf16/round_bf16.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

class MatmulCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  }

  // Multiples of 1/64 below 2, which bfloat16 holds.
  std::vector<float> random(std::int64_t n) {
    std::uniform_int_distribution<int> steps(-127, 127);
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) value = static_cast<float>(steps(engine_)) / 64;
    return values;
  }

  std::mt19937 engine_{5};
};

struct Size {
  std::int64_t rows, outputs, columns;
};
constexpr Size kSizes[] = {{1, 1, 1},     {1, 384, 384}, {3, 17, 33},     {5, 16, 2048},
                           {17, 513, 64}, {64, 100, 99}, {130, 256, 384}, {1, 4096, 24}};

Tensor matrix(const std::vector<float>& values, std::int64_t rows, std::int64_t columns) {
  const Tensor t = Tensor::empty({rows, columns}, DType::kF32);
  std::copy(values.begin(), values.end(), t.mutable_data<float>());
  return t;
}

// Elements differ from exact by the rounding of sums of so many terms below 4.
void check(const Size& s, const std::vector<float>& x, const std::vector<float>& w,
           const std::vector<float>& bias, const std::vector<float>& y, std::int64_t ldy) {
  for (std::int64_t m = 0; m < s.rows; ++m) {
    for (std::int64_t n = 0; n < s.outputs; ++n) {
      double sum = bias[static_cast<std::size_t>(n)];
      for (std::int64_t k = 0; k < s.columns; ++k) {
        sum += static_cast<double>(x[static_cast<std::size_t>(m * s.columns + k)]) *
               static_cast<double>(w[static_cast<std::size_t>(n * s.columns + k)]);
      }
      ASSERT_NEAR(y[static_cast<std::size_t>(m * ldy + n)], sum,
                  1e-6 * static_cast<double>(s.columns) + 1e-5)
          << s.rows << "x" << s.outputs << "x" << s.columns << " at " << m << ", " << n;
    }
  }
}

TEST_F(MatmulCuda, Float32AndBfloat16) {
  for (const Size& s : kSizes) {
    const auto x = random(s.rows * s.columns), w = random(s.outputs * s.columns);
    const auto bias = random(s.outputs);
    const std::int64_t ldy = s.outputs + 3;
    const DeviceArray dx(x), d_bias(bias);
    const auto y = DeviceArray<float>::poisoned(static_cast<std::size_t>(s.rows * ldy));
    const Tensor weight = matrix(w, s.outputs, s.columns);
    const auto f32 = DenseWeights::pack(gpu_stream(), weight, DenseType::kF32);
    matmul_f32(gpu_stream(), dx.data(), s.rows, f32, d_bias.data(), y.data(), ldy);
    check(s, x, w, bias, y.host(), ldy);

    const auto x16 = DeviceArray<std::uint16_t>::poisoned(x.size());
    round_bf16(gpu_stream(), dx.data(), s.rows * s.columns, x16.data(), 1);
    const auto rounded = x16.host();
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(rounded[i], f32_to_bf16(x[i]));
    const auto z = DeviceArray<float>::poisoned(static_cast<std::size_t>(s.rows * ldy));
    const auto bf16 = DenseWeights::pack(gpu_stream(), weight, DenseType::kBF16);
    matmul_bf16(gpu_stream(), x16.data(), s.rows, bf16, d_bias.data(), z.data(), ldy);
    check(s, x, w, bias, z.host(), ldy);
  }
}

TEST_F(MatmulCuda, AddsToWhatIsThere) {
  const Size s{33, 100, 64};
  const auto x = random(s.rows * s.columns), w = random(s.outputs * s.columns);
  const auto before = random(s.rows * s.outputs);
  const DeviceArray dx(x);
  const auto f32 =
      DenseWeights::pack(gpu_stream(), matrix(w, s.outputs, s.columns), DenseType::kF32);
  const DeviceArray y(before);
  matmul_f32(gpu_stream(), dx.data(), s.rows, f32, nullptr, y.data(), s.outputs, true);
  auto added = y.host();
  for (std::size_t i = 0; i < added.size(); ++i) added[i] -= before[i];
  check(s, x, w, std::vector<float>(static_cast<std::size_t>(s.outputs)), added, s.outputs);
}

TEST_F(MatmulCuda, Int8IsExact) {
  for (const Size& s : {Size{17, 16, 16}, Size{64, 100, 384}, Size{33, 2048, 2048}}) {
    std::uniform_int_distribution<int> byte(-127, 127);
    std::vector<std::int8_t> x(static_cast<std::size_t>(s.rows * s.columns));
    std::vector<std::int8_t> w(static_cast<std::size_t>(s.outputs * s.columns));
    for (auto* values : {&x, &w}) {
      for (auto& value : *values) value = static_cast<std::int8_t>(byte(engine_));
    }
    const DeviceArray dx(x), dw(w);
    const auto y =
        DeviceArray<std::int32_t>::poisoned(static_cast<std::size_t>(s.rows * s.outputs));
    ASSERT_TRUE(matmul_int8_gpu(
        gpu_stream(), {dx.data(), s.rows, s.columns, dw.data(), s.outputs, s.columns, s.columns},
        y.data()));
    const auto got = y.host();
    for (std::int64_t m = 0; m < s.rows; ++m) {
      for (std::int64_t n = 0; n < s.outputs; ++n) {
        int sum = 0;
        for (std::int64_t k = 0; k < s.columns; ++k) {
          sum += x[static_cast<std::size_t>(m * s.columns + k)] *
                 w[static_cast<std::size_t>(n * s.columns + k)];
        }
        ASSERT_EQ(got[static_cast<std::size_t>(m * s.outputs + n)], sum);
      }
    }
  }
}

TEST_F(MatmulCuda, ResidualAdd) {
  for (const std::int64_t n : {1, 3, 4, 1023, 4096}) {
    auto hidden = random(n);
    const auto delta = random(n);
    const DeviceArray d_hidden(hidden), d_delta(delta);
    residual_add(gpu_stream(), d_hidden.data(), d_delta.data(), n);
    residual_add(Stream::cpu(), hidden.data(), delta.data(), n);
    EXPECT_EQ(d_hidden.host(), hidden);
  }
}

}  // namespace
}  // namespace aquatint::kernels
