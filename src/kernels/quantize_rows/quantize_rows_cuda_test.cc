// The CUDA form of quantize_rows_int8 has the bits of the CPU's.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "kernels/cuda_testing.h"
#include "kernels/quantize_rows/quantize_rows.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

struct Result {
  std::vector<std::int8_t> values;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
  bool operator==(const Result&) const = default;
};

struct Grouping {
  std::int64_t rows, columns, group_size, groups;
};

Result on_cpu(const std::vector<float>& x, const Grouping& c) {
  Result r;
  r.values.resize(static_cast<std::size_t>(c.rows * c.group_size * c.groups));
  r.scales.resize(static_cast<std::size_t>(c.rows));
  r.sums.resize(static_cast<std::size_t>(c.rows * c.groups));
  quantize_rows_int8(x.data(), c.rows, c.columns, c.group_size, c.groups, r.values.data(),
                     r.scales.data(), r.sums.data());
  return r;
}

Result on_gpu(const std::vector<float>& x, const Grouping& c, int tag) {
  const DeviceArray dx(x);
  const auto values = DeviceArray<std::int8_t>::poisoned(
      static_cast<std::size_t>(c.rows * c.group_size * c.groups));
  const auto scales = DeviceArray<float>::poisoned(static_cast<std::size_t>(c.rows));
  const auto sums =
      DeviceArray<std::int32_t>::poisoned(static_cast<std::size_t>(c.rows * c.groups));
  EXPECT_TRUE(quantize_rows_int8(gpu_stream(), dx.data(), c.rows, c.columns, c.group_size, c.groups,
                                 values.data(), scales.data(), sums.data(), tag));
  return {values.host(), scales.host(), sums.host()};
}

std::vector<float> random_rows(const Grouping& c) {
  std::mt19937 random(static_cast<unsigned>(c.rows * 7919 + c.columns));
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(c.rows * c.columns));
  for (std::size_t i = 0; i < x.size(); ++i) {
    // Rows of very different sizes, with whole and half steps of the grid among them.
    const float size =
        std::ldexp(1.0f, static_cast<int>(i / static_cast<std::size_t>(c.columns)) % 7);
    x[i] = i % 5 == 0 ? size * std::floor(normal(random) * 20) / 2 : size * normal(random);
  }
  return x;
}

TEST(QuantizeRowsCuda, HasTheBitsOfTheCpu) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  for (const Grouping& c : {Grouping{1, 1, 8, 1},
                            {3, 7, 8, 1},
                            {2, 40, 64, 1},
                            {5, 129, 32, 5},
                            {17, 384, 384, 1},
                            {4, 2048, 128, 16},
                            {2, 5632, 5632, 1},
                            {700, 100, 8, 13},
                            {2, 14000, 64, 219}}) {
    auto x = random_rows(c);
    if (c.rows > 1) std::fill_n(x.begin() + c.columns, c.columns, 1e-31f);  // counts as zero
    EXPECT_EQ(on_gpu(x, c, 1), on_cpu(x, c)) << c.rows << " x " << c.columns;
  }
  gpu_stream().check_finite();
}

TEST(QuantizeRowsCuda, ReportsWhatIsNotFinite) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  const Grouping c{3, 100, 104, 1};
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    auto x = random_rows(c);
    x[150] = bad;
    EXPECT_EQ(on_gpu(x, c, 0), on_cpu(x, c));  // that row is zero
    gpu_stream().check_finite();
    on_gpu(x, c, gpu_stream().fault_tag("layer.3"));
    EXPECT_THROW(gpu_stream().check_finite(), Error);
  }
}

}  // namespace
}  // namespace aquatint::kernels
