// The CUDA forms against the CPU's: sums may be in another order, so float32 results agree to
// rounding, and integers to one step where a value lies at a boundary.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>

#include "base/dtype.h"
#include "base/error.h"
#include "kernels/cuda_testing.h"
#include "kernels/rms_norm/rms_norm.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

class RmsNormCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  }

  std::vector<float> random(std::int64_t n) {
    std::normal_distribution<float> normal(0, 2);
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) value = normal(engine_);
    return values;
  }

  std::mt19937 engine_{7};
};

struct Size {
  std::int64_t rows, columns;
};
constexpr Size kSizes[] = {{1, 1}, {3, 7}, {2, 33}, {5, 384}, {1, 2048}, {17, 2560}, {2, 14000}};

void expect_near(const std::vector<float>& a, const std::vector<float>& b, float relative) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_NEAR(a[i], b[i], relative * std::abs(b[i]) + 1e-30f) << i;
  }
}

TEST_F(RmsNormCuda, NormalizesAsTheCpuDoes) {
  for (const auto& [rows, columns] : kSizes) {
    const auto x = random(rows * columns), w = random(columns);
    std::vector<float> expected(x.size());
    rms_norm(x.data(), w.data(), rows, columns, 1e-6f, expected.data());
    const DeviceArray dx(x), dw(w);
    const auto y = DeviceArray<float>::poisoned(x.size());
    rms_norm(gpu_stream(), dx.data(), dw.data(), rows, columns, 1e-6f, y.data());
    expect_near(y.host(), expected, 2e-6f);
    rms_norm(x.data(), nullptr, rows, columns, 1e-6f, expected.data());
    rms_norm(gpu_stream(), dx.data(), nullptr, rows, columns, 1e-6f, y.data());
    expect_near(y.host(), expected, 2e-6f);
  }
}

TEST_F(RmsNormCuda, AddsBefore) {
  for (const auto& [rows, columns] : kSizes) {
    auto residual = random(rows * columns);
    const auto delta = random(rows * columns), w = random(columns);
    const DeviceArray d_residual(residual), d_delta(delta), dw(w);
    const auto y = DeviceArray<float>::poisoned(residual.size());
    add_rms_norm(gpu_stream(), d_residual.data(), d_delta.data(), dw.data(), rows, columns, 1e-5f,
                 y.data());
    std::vector<float> expected(residual.size());
    add_rms_norm(residual.data(), delta.data(), w.data(), rows, columns, 1e-5f, expected.data());
    EXPECT_EQ(d_residual.host(), residual);
    expect_near(y.host(), expected, 2e-6f);
  }
}

TEST_F(RmsNormCuda, Quantizes) {
  struct Grouping {
    std::int64_t columns, group_size, groups;
  };
  for (const auto& [columns, size, groups] :
       {Grouping{7, 8, 1}, {384, 384, 1}, {384, 128, 3}, {100, 32, 4}, {2048, 2048, 1}}) {
    const std::int64_t rows = 3;
    auto x = random(rows * columns);
    const auto w = random(columns);
    std::fill_n(x.begin() + columns, columns, 0.0f);  // a row of zeros
    const auto n = static_cast<std::size_t>(rows * size * groups);
    std::vector<std::int8_t> values(n);
    std::vector<float> scales(rows);
    std::vector<std::int32_t> sums(static_cast<std::size_t>(rows * groups));
    rms_norm_int8(x.data(), w.data(), rows, columns, 1e-6f, size, groups, values.data(),
                  scales.data(), sums.data());
    const DeviceArray dx(x), dw(w);
    const auto d_values = DeviceArray<std::int8_t>::poisoned(n);
    const auto d_scales = DeviceArray<float>::poisoned(rows);
    const auto d_sums = DeviceArray<std::int32_t>::poisoned(sums.size());
    rms_norm(gpu_stream(), dx.data(), dw.data(), rows, columns, 1e-6f,
             {nullptr, nullptr, d_values.data(), d_scales.data(), d_sums.data(), size, groups}, 1);
    expect_near(d_scales.host(), scales, 2e-6f);
    const auto got = d_values.host();
    std::vector<std::int32_t> got_sums(sums.size());
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_LE(std::abs(got[i] - values[i]), 1) << i;
      got_sums[i / static_cast<std::size_t>(size)] += got[i];
    }
    EXPECT_EQ(d_sums.host(), got_sums);
    gpu_stream().check_finite();
  }
}

TEST_F(RmsNormCuda, RoundsToBf16AndReportsWhatIsNotFinite) {
  const std::int64_t rows = 4, columns = 100;
  auto x = random(rows * columns);
  const DeviceArray dx(x);
  const auto f32 = DeviceArray<float>::poisoned(x.size());
  const auto y = DeviceArray<std::uint16_t>::poisoned(x.size());
  rms_norm(gpu_stream(), dx.data(), nullptr, rows, columns, 1e-6f, f32.data());
  const int tag = gpu_stream().fault_tag("layer.7");
  RowSink sink;
  sink.bf16 = y.data();
  rms_norm(gpu_stream(), dx.data(), nullptr, rows, columns, 1e-6f, sink, tag);
  const auto values = f32.host();
  const auto rounded = y.host();
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(rounded[i], f32_to_bf16(values[i]));
  gpu_stream().check_finite();

  x[150] = std::numeric_limits<float>::quiet_NaN();
  const DeviceArray bad(x);
  rms_norm(gpu_stream(), bad.data(), nullptr, rows, columns, 1e-6f, sink, tag);
  try {
    gpu_stream().check_finite();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNumeric);
    EXPECT_STREQ(error.what(), "'layer.7': its input holds NaN or infinity");
  }
  gpu_stream().check_finite();  // reported once
}

}  // namespace
}  // namespace aquatint::kernels
