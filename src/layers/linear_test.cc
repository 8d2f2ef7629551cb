// Quantized products of Linear: the integer kernels against float arithmetic on the same grid, and
// what a bad input gives.
#include "layers/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "formats/test_support.h"

namespace aquatint {
namespace {

struct Case {
  const char* name;
  WeightScheme weights;
  ActivationScheme activations;
};

constexpr WeightScheme kW8Row{8, true, Granularity::kRow, 0};
constexpr WeightScheme kW8Tensor{8, true, Granularity::kTensor, 0};
constexpr WeightScheme kW4G128{4, true, Granularity::kGroup, 128};
constexpr WeightScheme kW4G32Asymmetric{4, false, Granularity::kGroup, 32};
constexpr WeightScheme kW8RowAsymmetric{8, false, Granularity::kRow, 0};
constexpr auto kA8 = ActivationScheme::kInt8Dynamic;
constexpr auto kA16 = ActivationScheme::kFloat;
constexpr auto kStatic = ActivationScheme::kInt8Static;
constexpr auto kAffine = ActivationScheme::kInt8StaticAffine;

std::vector<float> random_values(std::int64_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

QuantizedMatrix random_matrix(const WeightScheme& scheme, std::int64_t rows, std::int64_t columns,
                              std::mt19937& random) {
  QuantizedMatrix m;
  m.scheme = scheme;
  m.values = Tensor::empty({rows, columns}, DType::kI8);
  std::uniform_int_distribution<int> integer(scheme.qmin(), scheme.qmax());
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    m.values.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(integer(random));
  }
  const bool one = scheme.granularity == Granularity::kTensor;
  const Shape shape = one ? Shape{1, 1} : Shape{rows, scheme.groups(columns)};
  m.scales = Tensor::empty(shape, DType::kF32);
  if (!scheme.symmetric) m.zero_points = Tensor::empty(shape, DType::kI8);
  std::uniform_real_distribution<float> scale(0.002f, 0.02f);
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    m.scales.mutable_data<float>()[i] = scale(random);
    if (!scheme.symmetric) {
      m.zero_points.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(integer(random));
    }
  }
  return m;
}

std::vector<float> multiply(const LinearWeights& weights, Execution execution,
                            const std::vector<float>& x, std::int64_t rows) {
  const Linear linear(weights, {{}, execution});
  Workspace workspace;
  ForwardContext context{workspace};
  LinearInput input = LinearInput::values(context, x.data(), rows, linear.columns());
  std::vector<float> y(static_cast<std::size_t>(rows * linear.outputs()));
  linear.forward(context, input, y.data());
  return y;
}

// Both executions multiply the same integers, so they differ by float32 rounding alone: at most
// half a unit of 2^-23 for each of K products and sums, which add up like a random walk, K^1/2
// long. Kernels add up unsigned integers, in [0, 2^bits), and subtract zero points afterwards, so
// the terms that are rounded are as large as |x| s 2^bits. A zero point of the activations moves x
// by `offset` at most until the bias makes up for it.
float rounding_bound(const QuantizedMatrix& m, std::int64_t n, const float* x, double offset) {
  constexpr double kDeviations = 4;
  const std::int64_t columns = m.columns();
  const std::int64_t group =
      m.scheme.granularity == Granularity::kGroup ? m.scheme.group_size : columns;
  double terms = 0;
  for (std::int64_t k = 0; k < columns; ++k) {
    const double size = std::abs(static_cast<double>(x[k])) + offset;
    terms += size * static_cast<double>(m.scale(n, k / group));
  }
  terms *= std::exp2(m.scheme.bits);
  const double unit = std::exp2(-24);
  return static_cast<float>(kDeviations * std::sqrt(static_cast<double>(columns)) * unit * terms);
}

class QuantizedLinear : public ::testing::TestWithParam<Case> {};

TEST_P(QuantizedLinear, IntegerEqualsSimulatedToRounding) {
  const Case& c = GetParam();
  std::mt19937 random(1);
  for (const auto& [outputs, columns] :
       {std::pair<std::int64_t, std::int64_t>{1, 8}, {17, 37}, {33, 96}, {40, 200}, {129, 1000}}) {
    const QuantizedMatrix matrix = random_matrix(c.weights, outputs, columns, random);
    LinearWeights weights{"model.test", matrix, Tensor(), c.activations};
    // Narrower than the values, so that both ends are cut.
    if (is_static(c.activations)) weights.input.scale = 0.013f;
    if (c.activations == kAffine) weights.input.zero_point = -37;
    const double offset = std::abs(weights.input.zero_point) * 0.013;
    weights.bias = Tensor::empty({outputs}, DType::kF32);
    const auto bias = random_values(outputs, random);
    std::copy(bias.begin(), bias.end(), weights.bias.mutable_data<float>());
    for (const std::int64_t rows : {1, 2, 5, 33}) {
      const auto x = random_values(rows * columns, random);
      const auto integer = multiply(weights, Execution::kInteger, x, rows);
      const auto simulated = multiply(weights, Execution::kSimulated, x, rows);
      for (std::int64_t i = 0; i < rows * outputs; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const float* row = x.data() + i / outputs * columns;
        const float bound = rounding_bound(matrix, i % outputs, row, offset) +
                            4e-7f * std::abs(bias[static_cast<std::size_t>(i % outputs)]);
        ASSERT_NEAR(integer[at], simulated[at], bound)
            << "[" << outputs << ", " << columns << "] row " << i / outputs << " output "
            << i % outputs;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Schemes, QuantizedLinear,
    ::testing::Values(Case{"w8a8_row", kW8Row, kA8}, Case{"w8a8_tensor", kW8Tensor, kA8},
                      Case{"w8a8_row_asymmetric", kW8RowAsymmetric, kA8},
                      Case{"w4a8_g128", kW4G128, kA8},
                      Case{"w4a8_g32_asymmetric", kW4G32Asymmetric, kA8},
                      Case{"w8a8_static", kW8Row, kStatic}, Case{"w8a8_affine", kW8Tensor, kAffine},
                      Case{"w8a8_both_affine", kW8RowAsymmetric, kAffine},
                      Case{"w4a8_affine", kW4G32Asymmetric, kAffine},
                      Case{"w8a16_row", kW8Row, kA16}, Case{"w8a16_tensor", kW8Tensor, kA16},
                      Case{"w4a16_g128", kW4G128, kA16},
                      Case{"w4a16_g32_asymmetric", kW4G32Asymmetric, kA16}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Linear, BadInputsAreErrorsThatNameTheLayer) {
  std::mt19937 random(1);
  for (const ActivationScheme activations : {kA8, kA16}) {
    const LinearWeights weights{"model.layers.3.mlp.down_proj",
                                random_matrix(kW8Row, 8, 16, random), Tensor(), activations};
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      auto x = random_values(3 * 16, random);
      x[20] = bad;
      for (const Execution execution : {Execution::kInteger, Execution::kSimulated}) {
        testing::expect_error(ErrorKind::kNumeric,
                              "'model.layers.3.mlp.down_proj': its input holds NaN or infinity",
                              [&] { multiply(weights, execution, x, 3); });
      }
    }
  }
}

// What static activations stand for, computed here in float64.
TEST(Linear, StaticActivationsAreOnTheirGrid) {
  std::mt19937 random(3);
  const std::int64_t outputs = 5, columns = 24, rows = 3;
  const QuantizedMatrix matrix = random_matrix(kW8Row, outputs, columns, random);
  LinearWeights weights{"model.test", matrix, Tensor(), kAffine, {0.02f, 11}};
  const auto x = random_values(rows * columns, random);
  const auto y = multiply(weights, Execution::kInteger, x, rows);
  const Tensor w = dequantize(matrix);
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < outputs; ++n) {
      double expected = 0;
      for (std::int64_t k = 0; k < columns; ++k) {
        const float scaled = x[static_cast<std::size_t>(m * columns + k)] * (1.0f / 0.02f);
        const double q = std::clamp(std::rint(static_cast<double>(scaled)) + 11, -128.0, 127.0);
        expected += static_cast<double>(0.02f) * (q - 11) *
                    static_cast<double>(w.data<float>()[n * columns + k]);
      }
      EXPECT_NEAR(y[static_cast<std::size_t>(m * outputs + n)], expected, 1e-4);
    }
  }
}

TEST(Linear, WritesIntoWiderRows) {
  std::mt19937 random(1);
  const std::int64_t rows = 3, outputs = 5, columns = 16, ldy = 8;
  const auto x = random_values(rows * columns, random);
  const Tensor dense = dequantize(random_matrix(kW8Row, outputs, columns, random));
  const LinearWeights cases[] = {
      {"dense", dense, Tensor(), kA16},
      {"w8a8", random_matrix(kW8Row, outputs, columns, random), Tensor(), kA8},
      {"w4a16", random_matrix(kW4G32Asymmetric, outputs, columns, random), Tensor(), kA16}};
  for (const LinearWeights& weights : cases) {
    const Linear linear(weights, {});
    Workspace workspace;
    ForwardContext context{workspace};
    LinearInput input = LinearInput::values(context, x.data(), rows, columns);
    std::vector<float> wide(static_cast<std::size_t>(rows * ldy), -7.0f);
    linear.forward(context, input, wide.data(), ldy);
    const auto narrow = multiply(weights, Execution::kInteger, x, rows);
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t n = 0; n < ldy; ++n) {
        const float value = wide[static_cast<std::size_t>(row * ldy + n)];
        const float expected =
            n < outputs ? narrow[static_cast<std::size_t>(row * outputs + n)] : -7.0f;
        EXPECT_FLOAT_EQ(value, expected) << weights.module << " " << row << " " << n;
      }
    }
  }
}

TEST(LinearInput, MakesEachFormOnce) {
  Workspace workspace;
  ForwardContext context{workspace};
  const std::vector<float> x(2 * 16, 0.5f);
  const RmsNorm norm{Tensor(), 1e-6f};
  LinearInput input = LinearInput::normalized(context, x.data(), norm, 2, 16);
  const auto first = input.int8(16, 1, "a"), second = input.int8(16, 1, "b");
  EXPECT_EQ(first.values, second.values);
  EXPECT_NE(first.values, input.int8(8, 2, "c").values);
  EXPECT_EQ(input.f32(), input.f32());
  EXPECT_EQ(input.plain_bf16("d"), input.plain_bf16("e"));
  EXPECT_EQ(first.values[0], 127);
  EXPECT_NEAR(input.f32()[31], 1.0f, 1e-5f);
}

TEST(Workspace, IsReusedAfterItsScope) {
  Workspace workspace;
  float* first = nullptr;
  for (int pass = 0; pass < 3; ++pass) {
    const Workspace::Scope scope(workspace);
    float* small = workspace.take<float>(10);
    float* large = workspace.take<float>(std::int64_t{1} << 20);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(small) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large) % 64, 0u);
    if (first == nullptr) first = small;
    EXPECT_EQ(small, first);
  }
  const std::size_t reserved = workspace.reserved_bytes();
  const Workspace::Scope scope(workspace);
  workspace.take<float>(std::int64_t{1} << 20);
  EXPECT_EQ(workspace.reserved_bytes(), reserved);
}

}  // namespace
}  // namespace aquatint
