// Products with few rows that make their rows themselves, what rides along, and products with dense
// bfloat16 weights, against float64.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <random>

#include "base/dtype.h"
#include "kernels/cuda_testing.h"
#include "kernels/quant_matmul/quant_matmul.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;
using testing::random_values;

constexpr float kEps = 1e-5F;

// Dense weights as the device has them and as numbers.
struct Dense {
  Dense(std::int64_t n, std::int64_t k, unsigned seed) : outputs(n), columns(k) {
    for (const float value : random_values(n * k, seed, 0.1F)) {
      bits.push_back(f32_to_bf16(value));
      values.push_back(static_cast<double>(bf16_to_f32(bits.back())));
    }
    device = DeviceArray(bits);
  }
  GpuDenseProduct product(const float* bias, const DeviceArray<float>& y, std::int64_t ldy) const {
    return {device.data(), outputs, columns, bias, y.data(), ldy};
  }
  std::int64_t outputs, columns;
  std::vector<std::uint16_t> bits;
  std::vector<double> values;
  DeviceArray<std::uint16_t> device{{}};
};

// |y - x w^T - bias| over |x w^T + bias|; NaN if anything is.
double relative_error(const std::vector<double>& x, const std::vector<double>& w,
                      const std::vector<float>& bias, std::int64_t columns,
                      const std::vector<float>& y, std::int64_t ldy) {
  const auto outputs = static_cast<std::int64_t>(w.size()) / columns;
  const auto rows = static_cast<std::int64_t>(x.size()) / columns;
  double error = 0, size = 0;
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < outputs; ++n) {
      double sum = bias.empty() ? 0.0 : static_cast<double>(bias[static_cast<std::size_t>(n)]);
      for (std::int64_t k = 0; k < columns; ++k) {
        sum += x[static_cast<std::size_t>(m * columns + k)] *
               w[static_cast<std::size_t>(n * columns + k)];
      }
      const double difference = sum - static_cast<double>(y[static_cast<std::size_t>(m * ldy + n)]);
      error += difference * difference;
      size += sum * sum;
    }
  }
  return std::sqrt(error / size);
}

// A source on the device, and the rows that it stands for.
struct Source {
  // parts: of a row that are normalized each; 0 for none.
  Source(std::int64_t row_count, std::int64_t column_count, std::int64_t parts, bool weighted,
         bool gated)
      : rows(row_count), columns(column_count) {
    const auto x = random_values(rows * columns, 1, 3.0F);
    const auto gate = random_values(rows * columns, 2, 2.0F);
    const std::int64_t part = parts > 0 ? columns / parts : columns;
    const auto weight = random_values(part, 3);
    d_x = DeviceArray(x);
    d_weight = DeviceArray(weight);
    d_gate = DeviceArray(gate);
    plain.x = d_x.data();
    plain.ldx = columns;
    plain.norm_columns = parts > 0 ? part : 0;
    plain.weight = weighted ? d_weight.data() : nullptr;
    plain.eps = kEps;
    plain.gate = gated ? d_gate.data() : nullptr;
    plain.ld_gate = columns;
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      const std::int64_t first = i / part * part;
      double value = static_cast<double>(x[static_cast<std::size_t>(i)]);
      if (parts > 0) {
        double squares = 0;
        for (std::int64_t k = first; k < first + part; ++k) {
          const double v = static_cast<double>(x[static_cast<std::size_t>(k)]);
          squares += v * v;
        }
        value /= std::sqrt(squares / static_cast<double>(part) + static_cast<double>(kEps));
        if (weighted) value *= static_cast<double>(weight[static_cast<std::size_t>(i - first)]);
      }
      if (gated) {
        const double g = static_cast<double>(gate[static_cast<std::size_t>(i)]);
        value *= g / (1 + std::exp(-g));
      }
      values.push_back(value);
    }
  }
  std::vector<double> rounded() const {
    std::vector<double> all;
    for (const double v : values) {
      all.push_back(static_cast<double>(bf16_to_f32(f32_to_bf16(static_cast<float>(v)))));
    }
    return all;
  }
  std::vector<double> quantized() const {
    std::vector<double> all;
    for (std::int64_t m = 0; m < rows; ++m) {
      double most = 0;
      const auto at = [&](std::int64_t k) {
        return values[static_cast<std::size_t>(m * columns + k)];
      };
      for (std::int64_t k = 0; k < columns; ++k) most = std::max(most, std::fabs(at(k)));
      for (std::int64_t k = 0; k < columns; ++k) {
        all.push_back(std::nearbyint(at(k) * 127 / most) * most / 127);
      }
    }
    return all;
  }

  std::int64_t rows, columns;
  std::vector<double> values;
  RowSource plain;
  DeviceArray<float> d_x{{}}, d_weight{{}}, d_gate{{}};
};

struct Quantized {
  Quantized(const WeightScheme& scheme, std::int64_t n, std::int64_t k, unsigned seed) {
    std::mt19937 random(seed);
    QuantizedMatrix m;
    m.scheme = scheme;
    m.values = Tensor::empty({n, k}, DType::kI8);
    std::uniform_int_distribution<int> q(scheme.qmin(), scheme.qmax());
    for (std::int64_t i = 0; i < n * k; ++i) {
      m.values.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(q(random));
    }
    std::uniform_real_distribution<float> scale(0.001F, 0.01F);
    m.scales = Tensor::empty({n, m.groups()}, DType::kF32);
    if (!scheme.symmetric) m.zero_points = Tensor::empty({n, m.groups()}, DType::kI8);
    for (std::int64_t i = 0; i < m.scales.numel(); ++i) {
      m.scales.mutable_data<float>()[i] = scale(random);
      if (!scheme.symmetric) {
        m.zero_points.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(q(random));
      }
    }
    packed = pack_gpu_weights(m);
    const Tensor w = unpack_to_f32(packed);
    for (std::int64_t i = 0; i < n * k; ++i) {
      values.push_back(static_cast<double>(w.data<float>()[i]));
    }
    for (Tensor* t : {&packed.data, &packed.scales, &packed.zeros}) *t = t->on(gpu_stream());
  }
  GpuWeights packed;
  std::vector<double> values;
};

class MadeRowsCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  }
};

TEST_F(MadeRowsCuda, DenseProductsOfGivenRows) {
  for (const std::int64_t rows : {1, 3, 8, 9, 16, 21}) {
    for (const auto& [outputs, columns] :
         {std::pair<std::int64_t, std::int64_t>{1, 32}, {16, 64}, {23, 2080}, {700, 544}}) {
      const Dense a(outputs, columns, 1), b(outputs + 5, columns, 2);
      const auto bias = random_values(outputs, 3);
      const DeviceArray d_bias(bias);
      std::vector<std::uint16_t> x16;
      std::vector<double> x;
      for (const float value : random_values(rows * columns, 4)) {
        x16.push_back(f32_to_bf16(value));
        x.push_back(static_cast<double>(bf16_to_f32(x16.back())));
      }
      const DeviceArray d_x(x16);
      const std::int64_t ldy = outputs + 7;
      const auto ya = DeviceArray<float>::poisoned(static_cast<std::size_t>(rows * ldy));
      const auto yb = DeviceArray<float>::poisoned(static_cast<std::size_t>(rows * ldy));
      const GpuDenseProduct products[] = {a.product(d_bias.data(), ya, ldy),
                                          b.product(nullptr, yb, ldy)};
      dense_matmul_few(gpu_stream(), d_x.data(), columns, rows, products);
      const auto name = fmt::format("{} x {} x {}", rows, outputs, columns);
      EXPECT_LT(relative_error(x, a.values, bias, columns, ya.host(), ldy), 1e-5) << name;
      EXPECT_LT(relative_error(x, b.values, {}, columns, yb.host(), ldy), 1e-5) << name;
      const auto got = ya.host();
      for (std::int64_t i = 0; i < rows * ldy; ++i) {
        if (i % ldy >= outputs) {
          ASSERT_TRUE(std::isnan(got[static_cast<std::size_t>(i)])) << name;
        }
      }
    }
  }
}

// What a source can be, for rows of so many columns.
std::vector<Source> sources(std::int64_t rows, std::int64_t columns) {
  std::vector<Source> all;
  all.emplace_back(rows, columns, 0, false, false);
  all.emplace_back(rows, columns, 1, true, false);
  all.emplace_back(rows, columns, 1, false, true);
  all.emplace_back(rows, columns, 0, false, true);
  if (columns % 512 == 0) all.emplace_back(rows, columns, 4, true, true);
  return all;
}

constexpr std::int64_t kColumns[] = {36, 132, 512, 2048, 5632, 8192};

TEST_F(MadeRowsCuda, QuantizedWeights) {
  for (const WeightScheme& scheme : {WeightScheme{4, true, Granularity::kGroup, 128},
                                     {4, false, Granularity::kGroup, 32},
                                     {4, false, Granularity::kRow, 0},
                                     {8, true, Granularity::kRow, 0},
                                     {8, false, Granularity::kGroup, 64}}) {
    for (const std::int64_t columns : kColumns) {
      for (const std::int64_t rows : {1, 4}) {
        const Quantized w(scheme, 83, columns, 5);
        const auto bias = random_values(83, 6);
        const DeviceArray d_bias(bias);
        for (const Source& source : sources(rows, columns)) {
          ASSERT_TRUE(can_make_rows(source.plain, rows, columns));
          const auto name = fmt::format("{}, {} x {}", scheme.str(), rows, columns);
          const auto y = DeviceArray<float>::poisoned(static_cast<std::size_t>(rows * 83));
          const GpuProduct product{&w.packed, d_bias.data(), y.data(), 83};
          quant_matmul_a16(gpu_stream(), source.plain, rows, std::span(&product, 1), nullptr, 0);
          EXPECT_LT(relative_error(source.rounded(), w.values, bias, columns, y.host(), 83), 1e-3)
              << name;
          if (w.packed.groups > 1) continue;
          const DeviceArray<float> y8(std::vector<float>(static_cast<std::size_t>(rows * 83)));
          const GpuProduct added{&w.packed, d_bias.data(), y8.data(), 83, true};
          quant_matmul_a8(gpu_stream(), source.plain, rows, std::span(&added, 1), nullptr, 0);
          EXPECT_LT(relative_error(source.quantized(), w.values, bias, columns, y8.host(), 83),
                    2e-3)
              << name << " a8";
        }
      }
    }
  }
}

// The same rows in both forms, one launch.
TEST_F(MadeRowsCuda, RidersAndSeveralProducts) {
  for (const std::int64_t columns : {512, 2048}) {
    const std::int64_t rows = 3;
    const Source source(rows, columns, 1, true, false);
    const Dense rider(16, columns, 7);
    const WeightScheme scheme{8, true, Granularity::kRow, 0};
    const Quantized a(scheme, 2048, columns, 8), b(scheme, 40, columns, 9);
    for (const bool int8 : {false, true}) {
      const auto ya = DeviceArray<float>::poisoned(static_cast<std::size_t>(rows * 2048));
      const auto yb = DeviceArray<float>::poisoned(static_cast<std::size_t>(rows * 40));
      const auto yr = DeviceArray<float>::poisoned(static_cast<std::size_t>(rows * 16));
      const GpuProduct products[] = {{&a.packed, nullptr, ya.data(), 2048},
                                     {&b.packed, nullptr, yb.data(), 40}};
      const auto beside = rider.product(nullptr, yr, 16);
      if (int8) {
        quant_matmul_a8(gpu_stream(), source.plain, rows, products, &beside, 0);
      } else {
        quant_matmul_a16(gpu_stream(), source.plain, rows, products, &beside, 0);
      }
      const auto x = int8 ? source.quantized() : source.rounded();
      EXPECT_LT(relative_error(x, a.values, {}, columns, ya.host(), 2048), 2e-3) << columns;
      EXPECT_LT(relative_error(x, b.values, {}, columns, yb.host(), 40), 2e-3) << columns;
      EXPECT_LT(relative_error(source.rounded(), rider.values, {}, columns, yr.host(), 16), 1e-3)
          << columns;
    }
  }
}

// Each launch reads what the one before wrote, while it may already have started.
TEST_F(MadeRowsCuda, ChainsOfLaunchesKeepTheirOrder) {
  const std::int64_t columns = 2048;
  const Quantized w({4, true, Granularity::kGroup, 128}, columns, columns, 10);
  const Source source(1, columns, 1, true, false);
  std::vector<float> first;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const DeviceArray<float> a(random_values(columns, 11)), b(random_values(columns, 12));
    for (int i = 0; i < 200; ++i) {
      RowSource x = source.plain;
      x.x = i % 2 == 0 ? a.data() : b.data();
      const GpuProduct product{&w.packed, nullptr, i % 2 == 0 ? b.data() : a.data(), columns,
                               i % 3 == 0};
      quant_matmul_a16(gpu_stream(), x, 1, std::span(&product, 1), nullptr, 0);
      if (repeat % 2 == 0) gpu_stream().synchronize();  // none overlaps another
    }
    const auto got = a.host();
    if (first.empty()) first = got;
    ASSERT_EQ(got, first) << repeat;
    for (const float value : got) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST_F(MadeRowsCuda, ReportsWhatIsNotFinite) {
  const Quantized w({8, true, Granularity::kRow, 0}, 48, 512, 13);
  for (const bool int8 : {false, true}) {
    auto x = random_values(512, 14);
    x[77] = std::numeric_limits<float>::infinity();
    const DeviceArray d_x(x);
    RowSource source;
    source.x = d_x.data();
    source.ldx = 512;
    const auto y = DeviceArray<float>::poisoned(48);
    const GpuProduct product{&w.packed, nullptr, y.data(), 48};
    const int tag = gpu_stream().fault_tag("model.made_rows");
    if (int8) {
      quant_matmul_a8(gpu_stream(), source, 1, std::span(&product, 1), nullptr, tag);
    } else {
      quant_matmul_a16(gpu_stream(), source, 1, std::span(&product, 1), nullptr, tag);
    }
    EXPECT_ANY_THROW(gpu_stream().check_finite());
  }
}

TEST(MadeRows, WhatTheyCanBe) {
  RowSource x;
  alignas(16) static float values[8] = {};
  x.x = values;
  x.ldx = 512;
  EXPECT_TRUE(can_make_rows(x, 1, 512));
  EXPECT_TRUE(can_make_rows(x, 4, 8192));
  EXPECT_FALSE(can_make_rows(x, 5, 512));
  EXPECT_FALSE(can_make_rows(x, 1, 8196));
  EXPECT_FALSE(can_make_rows(x, 1, 510));
  x.norm_columns = 128;
  EXPECT_TRUE(can_make_rows(x, 1, 512));
  x.norm_columns = 64;
  EXPECT_FALSE(can_make_rows(x, 1, 512));
  x.norm_columns = 0;
  x.x = values + 1;
  EXPECT_FALSE(can_make_rows(x, 1, 512));
}

}  // namespace
}  // namespace aquatint::kernels
