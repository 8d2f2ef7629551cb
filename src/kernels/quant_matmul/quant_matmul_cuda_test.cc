// The CUDA products against float64, and against the CPU's formula where it fixes the bits.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/dtype.h"
#include "base/threads.h"
#include "kernels/cuda_testing.h"
#include "kernels/quant_matmul/quant_matmul.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

struct Size {
  std::int64_t rows, outputs, columns;
};

// The extremes come often: they are where narrow sums would saturate.
int random_integer(std::mt19937& random, int least, int most) {
  const auto bits = static_cast<std::uint32_t>(random());
  const auto span = static_cast<std::uint64_t>(most - least + 1);
  const int value = least + static_cast<int>((bits >> 8) * span >> 24);
  return (bits & 0xffu) % 3 != 0 ? value : value < 0 ? least : most;
}

QuantizedMatrix random_matrix(const WeightScheme& scheme, std::int64_t outputs,
                              std::int64_t columns, std::mt19937& random) {
  QuantizedMatrix m;
  m.scheme = scheme;
  m.values = Tensor::empty({outputs, columns}, DType::kI8);
  const auto fill = [&](Tensor& tensor) {
    auto* values = tensor.mutable_data<std::int8_t>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      values[i] = static_cast<std::int8_t>(random_integer(random, scheme.qmin(), scheme.qmax()));
    }
  };
  fill(m.values);
  std::uniform_real_distribution<float> real(0.001f, 0.01f);
  m.scales = Tensor::empty({outputs, m.groups()}, DType::kF32);
  auto* scales = m.scales.mutable_data<float>();
  for (std::int64_t i = 0; i < m.scales.numel(); ++i) scales[i] = real(random);
  if (!scheme.symmetric) {
    m.zero_points = Tensor::empty({outputs, m.groups()}, DType::kI8);
    fill(m.zero_points);
  }
  return m;
}

// A product, with activations in both forms.
struct Problem {
  Problem(const WeightScheme& scheme, const Size& size, std::int64_t padding = 0);
  Int8Rows int8_rows() const { return {d_x8.data(), d_x_scales.data(), d_sums.data()}; }
  std::int64_t group_of(std::int64_t k) const { return k / weights.group_size; }
  double weight(std::int64_t n, std::int64_t k) const {
    return integers[static_cast<std::size_t>(n * size.columns + k)];
  }

  Size size;
  std::mt19937 random;
  QuantizedMatrix matrix;
  GpuWeights weights;
  std::vector<double> integers;  // [outputs, columns], values less zero points
  std::int64_t ldx16, ldx8;
  std::vector<std::uint16_t> x16;
  std::vector<std::int8_t> x8;
  std::vector<float> x_scales, bias;
  std::vector<std::int32_t> sums;
  DeviceArray<std::uint16_t> d_x16{{}};
  DeviceArray<std::int8_t> d_x8{{}};
  DeviceArray<float> d_x_scales{{}}, d_bias{{}};
  DeviceArray<std::int32_t> d_sums{{}};
};

Problem::Problem(const WeightScheme& scheme, const Size& of, std::int64_t padding)
    : size(of),
      random(static_cast<unsigned>(of.rows * 31 + of.outputs * 1009 + of.columns)),
      matrix(random_matrix(scheme, of.outputs, of.columns, random)),
      weights(pack_gpu_weights(matrix)),
      ldx16(of.columns + padding),
      ldx8(weights.group_size * weights.groups) {
  const auto n = [](std::int64_t count) { return static_cast<std::size_t>(count); };
  const auto* values = matrix.values.data<std::int8_t>();
  integers.reserve(n(size.outputs * size.columns));
  for (std::int64_t i = 0; i < size.outputs; ++i) {
    for (std::int64_t g = 0; g < weights.groups; ++g) {
      const int zero_point = matrix.zero_point(i, g);
      const std::int64_t end = std::min((g + 1) * weights.group_size, size.columns);
      for (std::int64_t k = g * weights.group_size; k < end; ++k) {
        integers.push_back(values[i * size.columns + k] - zero_point);
      }
    }
  }
  // What lies between rows must not be read: NaN.
  x16.resize(n(size.rows * ldx16), std::uint16_t{0x7fc0});
  x8.resize(n(size.rows * ldx8));
  sums.resize(n(size.rows * weights.groups));
  std::normal_distribution<float> normal;
  for (std::int64_t m = 0; m < size.rows; ++m) {
    x_scales.push_back(0.01f + 0.001f * static_cast<float>(m));
    for (std::int64_t k = 0; k < size.columns; ++k) {
      const int q = random_integer(random, -127, 127);
      x8[n(m * ldx8 + k)] = static_cast<std::int8_t>(q);
      sums[n(m * weights.groups + group_of(k))] += q;
      x16[n(m * ldx16 + k)] = f32_to_bf16(normal(random));
    }
  }
  for (std::int64_t i = 0; i < size.outputs; ++i) bias.push_back(normal(random));
  for (Tensor* tensor : {&weights.data, &weights.scales, &weights.zeros}) {
    *tensor = tensor->on(gpu_stream());
  }
  d_x16 = DeviceArray(x16);
  d_x8 = DeviceArray(x8);
  d_x_scales = DeviceArray(x_scales);
  d_sums = DeviceArray(sums);
  d_bias = DeviceArray(bias);
}

std::string name(const Problem& p) {
  return fmt::format("{}, {} x {} x {}", p.matrix.scheme.str(), p.size.rows, p.size.outputs,
                     p.size.columns);
}

DeviceArray<float> poisoned_result(const Problem& p, std::int64_t ldy) {
  return DeviceArray<float>::poisoned(static_cast<std::size_t>(p.size.rows * ldy));
}

struct Expected {
  double value, tolerance;
};

// Compares each element with expected(m, n, bias), and demands that those between rows are
// untouched. Assertions of their own for millions of elements would take most of the time.
template <typename Expect>
void check_result(const Problem& p, const std::vector<float>& y, std::int64_t ldy, bool with_bias,
                  const Expect& expect) {
  for (std::int64_t m = 0; m < p.size.rows; ++m) {
    for (std::int64_t n = 0; n < ldy; ++n) {
      const float value = y[static_cast<std::size_t>(m * ldy + n)];
      if (n >= p.size.outputs) {
        if (!std::isnan(value)) FAIL() << name(p) << ": wrote past row " << m;
        continue;
      }
      const Expected expected =
          expect(m, n, with_bias ? p.bias[static_cast<std::size_t>(n)] : 0.0f);
      if (std::fabs(static_cast<double>(value) - expected.value) <= expected.tolerance) continue;
      FAIL() << name(p) << " at " << m << ", " << n << ": " << value << ", expected "
             << expected.value << " within " << expected.tolerance;
    }
  }
}

// A sum of products and the sum of their magnitudes, in float64.
struct Sums {
  double sum = 0, magnitude = 0;
};

// Several sums side by side, which is many times faster than one after the other.
Sums dot(const double* a, const double* b, std::int64_t n) {
  constexpr int kLanes = 8;
  double sums[kLanes] = {}, magnitudes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const double term = a[i + j] * b[i + j];
      sums[j] += term;
      magnitudes[j] += std::fabs(term);
    }
  }
  for (; i < n; ++i) {
    sums[i % kLanes] += a[i] * b[i];
    magnitudes[i % kLanes] += std::fabs(a[i] * b[i]);
  }
  Sums total;
  for (int j = 0; j < kLanes; ++j) total = {total.sum + sums[j], total.magnitude + magnitudes[j]};
  return total;
}

// The products of activations [rows, columns] with the weights, [rows, outputs], on all threads.
// With scales, unless there is one of each output: those the caller applies.
std::vector<Sums> products(const Problem& p, const std::vector<double>& x) {
  std::vector<Sums> results(static_cast<std::size_t>(p.size.rows * p.size.outputs));
  const std::int64_t columns = p.size.columns, group_size = p.weights.group_size;
  parallel_for(p.size.outputs, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      for (std::int64_t m = 0; m < p.size.rows; ++m) {
        Sums& result = results[static_cast<std::size_t>(m * p.size.outputs + n)];
        for (std::int64_t g = 0; g < p.weights.groups; ++g) {
          const std::int64_t first = g * group_size;
          const Sums part =
              dot(x.data() + m * columns + first, &p.integers[0] + n * columns + first,
                  std::min(group_size, columns - first));
          const double scale =
              p.weights.groups == 1 ? 1.0 : static_cast<double>(p.matrix.scale(n, g));
          result.sum += part.sum * scale;
          result.magnitude += part.magnitude * scale;
        }
      }
    }
  });
  return results;
}

// Products are exact in float32. Each of about columns / 16 sums on the way, and those of the warps
// and groups, loses at most 2^-22 of the magnitudes.
void expect_a16(const Problem& p, const std::vector<float>& y, std::int64_t ldy, bool with_bias) {
  std::vector<double> x;
  for (std::int64_t m = 0; m < p.size.rows; ++m) {
    for (std::int64_t k = 0; k < p.size.columns; ++k) {
      x.push_back(bf16_to_f32(p.x16[static_cast<std::size_t>(m * p.ldx16 + k)]));
    }
  }
  const auto exact = products(p, x);
  const double steps = static_cast<double>(p.size.columns) / 16 + 64;
  check_result(p, y, ldy, with_bias, [&](std::int64_t m, std::int64_t n, float bias) -> Expected {
    const Sums& of_row = exact[static_cast<std::size_t>(m * p.size.outputs + n)];
    const double scale = p.weights.groups == 1 ? static_cast<double>(p.matrix.scale(n, 0)) : 1.0;
    const double start = static_cast<double>(bias);
    const double magnitude = of_row.magnitude * scale + std::fabs(start);
    return {of_row.sum * scale + start, steps * 0x1p-22 * magnitude};
  });
}

// Integers are exact: the bits of the CPU's formula with one group, and with more the rounding of
// the sum over groups (or over the parts of long ones).
void expect_a8(const Problem& p, const std::vector<float>& y, std::int64_t ldy, bool with_bias) {
  std::vector<double> x;
  for (std::int64_t m = 0; m < p.size.rows; ++m) {
    const std::int8_t* row = p.x8.data() + m * p.ldx8;
    x.insert(x.end(), row, row + p.size.columns);
  }
  const auto exact = products(p, x);
  const double steps = 12 + static_cast<double>(p.size.columns) / 32;
  check_result(p, y, ldy, with_bias, [&](std::int64_t m, std::int64_t n, float bias) -> Expected {
    const Sums& of_row = exact[static_cast<std::size_t>(m * p.size.outputs + n)];
    const float x_scale = p.x_scales[static_cast<std::size_t>(m)];
    if (p.weights.groups == 1) {
      const float product = static_cast<float>(of_row.sum) * p.matrix.scale(n, 0);
      const float exactly = with_bias ? std::fma(product, x_scale, bias) : product * x_scale;
      return {static_cast<double>(exactly), 0};
    }
    const double expected = of_row.sum * static_cast<double>(x_scale) + static_cast<double>(bias);
    const double bound = of_row.magnitude * static_cast<double>(x_scale) + std::fabs(expected);
    return {expected, steps * 0x1p-24 * bound};
  });
}

void check_few_rows(const Problem& p, std::int64_t ldy, bool with_bias) {
  const float* bias = with_bias ? p.d_bias.data() : nullptr;
  const auto y16 = poisoned_result(p, ldy);
  quant_matmul_a16(gpu_stream(), p.d_x16.data(), p.ldx16, p.size.rows, p.weights, bias, y16.data(),
                   ldy);
  expect_a16(p, y16.host(), ldy, with_bias);
  const auto y8 = poisoned_result(p, ldy);
  quant_matmul_a8(gpu_stream(), p.int8_rows(), p.size.rows, p.weights, bias, y8.data(), ldy);
  expect_a8(p, y8.host(), ldy, with_bias);
}

std::vector<WeightScheme> schemes() {
  std::vector<WeightScheme> all;
  for (const bool symmetric : {true, false}) {
    all.push_back({8, symmetric, Granularity::kRow, 0});
    all.push_back({4, symmetric, Granularity::kRow, 0});
    for (const std::int64_t group : {64, 128}) {
      all.push_back({8, symmetric, Granularity::kGroup, group});
    }
    for (const std::int64_t group : {32, 64, 96, 128, 256, 384}) {
      all.push_back({4, symmetric, Granularity::kGroup, group});
    }
  }
  all.push_back({8, false, Granularity::kGroup, 32});  // those without a fast form
  all.push_back({4, false, Granularity::kGroup, 24});
  all.push_back({3, true, Granularity::kGroup, 128});
  return all;
}

class QuantMatmulCuda : public ::testing::TestWithParam<WeightScheme> {
 protected:
  void SetUp() override {
    if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  }
};

TEST_P(QuantMatmulCuda, MultipliesFewRows) {
  for (const Size& size : {Size{1, 1, 8},
                           {1, 16, 128},
                           {2, 15, 40},
                           {7, 17, 129},
                           {8, 100, 640},
                           {9, 33, 264},
                           {16, 100, 2080},
                           {1, 513, 2080},
                           {3, 17, 5632},
                           {13, 40, 5632}}) {
    const Problem p(GetParam(), size);
    check_few_rows(p, size.outputs, true);
    if (HasFatalFailure()) return;
  }
}

TEST_P(QuantMatmulCuda, MultipliesAnyNumberOfRows) {
  for (std::int64_t rows = 1; rows <= 18; ++rows) {
    const Problem p(GetParam(), {rows, 24, 416}, rows % 3 * 4);
    check_few_rows(p, 24 + rows % 4, rows % 2 == 0);
    if (HasFatalFailure()) return;
  }
}

// Enough blocks of threads for two panels each, of an odd number of panels.
TEST_P(QuantMatmulCuda, MultipliesManyOutputsAndRows) {
  check_few_rows(Problem(GetParam(), {16, 4304 + 7, 136}), 4311, false);
  check_few_rows(Problem(GetParam(), {200, 500, 264}), 512, true);
}

// Products that share activations: those of the first problem become those of all.
std::vector<Problem> problems_with_one_x(const WeightScheme& scheme, std::int64_t rows,
                                         std::int64_t columns,
                                         const std::vector<std::int64_t>& outputs) {
  std::vector<Problem> problems;
  for (const std::int64_t n : outputs) problems.emplace_back(scheme, Size{rows, n, columns});
  for (Problem& p : problems) {
    p.x16 = problems[0].x16;
    p.x8 = problems[0].x8;
    p.sums = problems[0].sums;
  }
  return problems;
}

// A product whose result is x w^T + bias in one of three ways: from the bias; from y, which holds
// it; from half of it in both.
struct SharedProduct {
  SharedProduct(const Problem& of, int way)
      : p(of), ldy(of.size.outputs + way), accumulate(way > 0) {
    std::vector<float> half;
    for (const float b : p.bias) half.push_back(b / 2);
    const std::vector<float>& start = way == 1 ? p.bias : half;
    std::vector<float> before(static_cast<std::size_t>(p.size.rows * ldy), std::nanf(""));
    for (std::int64_t m = 0; accumulate && m < p.size.rows; ++m) {
      std::copy(start.begin(), start.end(), before.begin() + m * ldy);
    }
    y = DeviceArray(before);
    if (way == 2) bias = DeviceArray(half);
    bias_data = way == 0 ? p.d_bias.data() : way == 1 ? nullptr : bias.data();
  }
  GpuProduct product() const { return {&p.weights, bias_data, y.data(), ldy, accumulate}; }
  // The result against float64, and against the bits of a single product if `same_bits`.
  void expect(const DeviceArray<float>& single, bool int8, bool same_bits) const {
    const auto got = y.host(), alone = single.host();
    int8 ? expect_a8(p, got, ldy, true) : expect_a16(p, got, ldy, true);
    for (std::size_t i = 0; same_bits && i < got.size(); ++i) {
      if (std::isnan(alone[i]) || got[i] == alone[i]) continue;  // NaN: between rows
      FAIL() << name(p) << " at " << i << ": " << got[i] << " beside " << alone[i];
    }
  }

  const Problem& p;
  std::int64_t ldy;
  bool accumulate;
  DeviceArray<float> bias{{}}, y{{}};
  const float* bias_data = nullptr;
};

void check_shared_launch(const std::vector<Problem>& problems, bool int8) {
  const Problem& first = problems[0];
  const auto x8 = first.int8_rows();
  const std::uint16_t* x16 = first.d_x16.data();
  const std::int64_t rows = first.size.rows;
  std::vector<SharedProduct> shared;
  std::vector<GpuProduct> products;
  std::int64_t panels = 0;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    ASSERT_TRUE(can_share_launch(first.weights, problems[i].weights));
    shared.emplace_back(problems[i], static_cast<int>(i % 3));
    products.push_back(shared.back().product());
    panels += problems[i].weights.panels();
  }
  if (int8) {
    quant_matmul_a8(gpu_stream(), x8, rows, products);
  } else {
    quant_matmul_a16(gpu_stream(), x16, first.ldx16, rows, products);
  }
  // Otherwise the number of panels may change how columns are dealt out, and the order of sums.
  const bool same_bits = (int8 && first.weights.groups == 1) || first.size.columns <= 64 ||
                         panels <= gpu_stream().launch().multiprocessors;
  for (const SharedProduct& s : shared) {
    const auto y = poisoned_result(s.p, s.ldy);
    if (int8) {
      quant_matmul_a8(gpu_stream(), x8, rows, s.p.weights, s.p.d_bias.data(), y.data(), s.ldy);
    } else {
      quant_matmul_a16(gpu_stream(), x16, first.ldx16, rows, s.p.weights, s.p.d_bias.data(),
                       y.data(), s.ldy);
    }
    s.expect(y, int8, same_bits);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST_P(QuantMatmulCuda, SharesALaunch) {
  struct Case {
    std::int64_t rows, columns;
    std::vector<std::int64_t> outputs;
  };
  for (const Case& c : {Case{1, 40, {16, 100, 2048}},
                        {9, 64, {100, 2048, 16}},
                        {16, 136, {1600, 100, 16, 3000}},  // two panels for each block of threads
                        {1, 520, {2048, 16, 100}},
                        {3, 2080, {16, 100, 7, 300, 1, 48, 33, 16}}}) {  // two launches
    const auto problems = problems_with_one_x(GetParam(), c.rows, c.columns, c.outputs);
    for (const bool int8 : {false, true}) {
      check_shared_launch(problems, int8);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(QuantMatmulCuda, DequantizesToBf16) {
  for (const Size& size : {Size{0, 1, 8}, {0, 17, 129}, {0, 33, 1000}}) {
    const Problem p(GetParam(), size);
    for (const std::int64_t ldo : {p.weights.padded_columns, size.columns, size.columns + 3}) {
      const auto out =
          DeviceArray<std::uint16_t>::poisoned(static_cast<std::size_t>(size.outputs * ldo));
      dequantize_bf16(gpu_stream(), p.weights, out.data(), ldo);
      const auto got = out.host();
      for (std::int64_t n = 0; n < size.outputs; ++n) {
        for (std::int64_t k = 0; k < ldo; ++k) {
          const float scale =
              p.weights.groups == 1 || k >= size.columns ? 1 : p.matrix.scale(n, p.group_of(k));
          const float value = k < size.columns ? static_cast<float>(p.weight(n, k)) * scale : 0.0f;
          ASSERT_EQ(got[static_cast<std::size_t>(n * ldo + k)], f32_to_bf16(value))
              << name(p) << " at " << n << ", " << k;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, QuantMatmulCuda, ::testing::ValuesIn(schemes()),
                         [](const auto& scheme) {
                           std::string text = scheme.param.str();
                           for (char& c : text) c = c == ' ' ? '_' : c;
                           return text;
                         });

TEST(QuantMatmulSharingCuda, DependsOnAllButOutputs) {
  const auto packed = [](const WeightScheme& scheme, std::int64_t outputs, std::int64_t columns) {
    std::mt19937 random(1);
    return pack_gpu_weights(random_matrix(scheme, outputs, columns, random));
  };
  const WeightScheme scheme{4, false, Granularity::kGroup, 64};
  const GpuWeights w = packed(scheme, 17, 200);
  EXPECT_TRUE(can_share_launch(w, packed(scheme, 300, 200)));
  EXPECT_FALSE(can_share_launch(w, packed(scheme, 17, 201)));
  EXPECT_FALSE(can_share_launch(w, packed({8, false, Granularity::kGroup, 64}, 17, 200)));
  EXPECT_FALSE(can_share_launch(w, packed({4, true, Granularity::kGroup, 64}, 17, 200)));
  EXPECT_FALSE(can_share_launch(w, packed({4, false, Granularity::kGroup, 128}, 17, 200)));
  EXPECT_FALSE(can_share_launch(w, packed({4, false, Granularity::kRow, 0}, 17, 200)));
}

// The three ways in which tiles leave a result, from one x: float32, added to what y holds,
// bfloat16.
void check_tiles(const std::vector<Problem>& problems, bool with_bias) {
  const Problem& first = problems[0];
  struct Result {
    std::int64_t ldy;
    DeviceArray<float> y, added;
    DeviceArray<std::uint16_t> y16;
  };
  std::vector<Result> results;
  std::vector<TiledProduct> products, additions, rounded;
  for (const Problem& p : problems) {
    const std::int64_t ldy = (p.size.outputs + 7) / 8 * 8 + 8;
    const auto n = static_cast<std::size_t>(p.size.rows * ldy);
    results.push_back({ldy, DeviceArray<float>::poisoned(n), DeviceArray(std::vector<float>(n, 3)),
                       DeviceArray<std::uint16_t>::poisoned(n)});
    const Result& r = results.back();
    const float* bias = with_bias ? p.d_bias.data() : nullptr;
    products.push_back({&p.weights, bias, r.y.data(), nullptr, ldy});
    additions.push_back({&p.weights, bias, r.added.data(), nullptr, ldy, true});
    rounded.push_back({&p.weights, bias, nullptr, r.y16.data(), ldy});
  }
  for (const auto& some : {products, additions, rounded}) {
    quant_matmul_a8_tiles(gpu_stream(), first.int8_rows(), first.size.rows, some);
  }
  for (std::size_t i = 0; i < problems.size(); ++i) {
    const Problem& p = problems[i];
    auto y = results[i].y.host();
    const auto added = results[i].added.host();
    const auto y16 = results[i].y16.host();
    for (std::int64_t m = 0; m < p.size.rows; ++m) {
      for (std::int64_t n = p.size.outputs; n < (p.size.outputs + 3) / 4 * 4; ++n) {
        float& value = y[static_cast<std::size_t>(m * results[i].ldy + n)];
        if (value == 0) value = std::nanf("");  // the rest of 16 bytes
      }
    }
    expect_a8(p, y, results[i].ldy, with_bias);
    if (::testing::Test::HasFatalFailure()) return;
    for (std::size_t at = 0; at < y.size(); ++at) {
      const bool outside = std::isnan(y[at]);
      if (added[at] != (outside ? 3.0f : 3.0f + y[at])) {
        FAIL() << name(p) << " at " << at << ": added to " << added[at];
      }
      const bool as_left = outside && (y16[at] == 0xffff || y16[at] == 0);
      if (!as_left && y16[at] != f32_to_bf16(y[at])) {
        FAIL() << name(p) << " at " << at << ": " << y16[at] << ", not " << y[at];
      }
    }
  }
}

TEST(QuantMatmulTilesCuda, HaveTheBitsOfTheProduct) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  struct Case {
    std::int64_t rows, columns;
    std::vector<std::int64_t> outputs;
  };
  for (const bool symmetric : {true, false}) {
    const WeightScheme scheme{8, symmetric, Granularity::kRow, 0};
    for (const Case& c : {Case{1, 8, {1}},
                          {65, 100, {33}},
                          {128, 128, {256}},
                          {129, 640, {257, 16}},
                          {300, 200, {700, 1, 255, 40}},
                          {1000, 72, {1100, 300, 5, 64, 256, 7, 512, 20}},  // two launches
                          {2600, 40, {3000}}}) {  // more tiles than fit, in two bands
      const auto problems = problems_with_one_x(scheme, c.rows, c.columns, c.outputs);
      if (!has_int8_tiles(gpu_stream(), problems[0].weights)) {
        GTEST_SKIP() << "the device has no int8 tiles";
      }
      for (const bool with_bias : {true, false}) {
        check_tiles(problems, with_bias);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// What a library's int8 product leaves becomes what quant_matmul_a8 gives.
TEST(QuantMatmulEpilogueCuda, HasTheBitsOfTheProduct) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  for (const bool symmetric : {true, false}) {
    for (const Size& size : {Size{3, 513, 40}, {18, 64, 200}, {5, 600, 16}}) {
      const Problem p({8, symmetric, Granularity::kRow, 0}, size);
      const std::int64_t ld_sums = p.weights.padded_outputs();
      std::vector<std::int32_t> sums(static_cast<std::size_t>(size.rows * ld_sums), 1 << 30);
      for (std::int64_t m = 0; m < size.rows; ++m) {
        for (std::int64_t n = 0; n < size.outputs; ++n) {
          int dot = 0;
          for (std::int64_t k = 0; k < size.columns; ++k) {
            dot += p.matrix.values.data<std::int8_t>()[n * size.columns + k] *
                   p.x8[static_cast<std::size_t>(m * p.ldx8 + k)];
          }
          sums[static_cast<std::size_t>(m * ld_sums + n)] = dot;
        }
      }
      const DeviceArray d_sums(sums);
      for (const bool with_bias : {true, false}) {
        const float* bias = with_bias ? p.d_bias.data() : nullptr;
        const auto y = poisoned_result(p, size.outputs);
        int8_epilogue(gpu_stream(), d_sums.data(), ld_sums, p.int8_rows(), size.rows, p.weights,
                      bias, false, y.data(), size.outputs);
        const auto once = y.host();
        expect_a8(p, once, size.outputs, with_bias);
        int8_epilogue(gpu_stream(), d_sums.data(), ld_sums, p.int8_rows(), size.rows, p.weights,
                      bias, true, y.data(), size.outputs);
        const auto twice = y.host();
        for (std::size_t i = 0; i < twice.size(); ++i) {
          ASSERT_NEAR(twice[i], 2 * once[i], 1e-6f * (std::fabs(once[i]) + 4)) << name(p);
        }
      }
    }
  }
}

TEST(QuantMatmulEpilogueCuda, ScalesOutputs) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  for (const Size& size : {Size{3, 513, 40}, {18, 64, 40}}) {
    const Problem p({8, true, Granularity::kRow, 0}, size);
    std::vector<float> sums;
    for (std::int64_t i = 0; i < size.rows * size.outputs; ++i) {
      sums.push_back(static_cast<float>(i) - 1000.5f);
    }
    const DeviceArray y(sums), unbiased(sums);
    scale_outputs(gpu_stream(), p.weights, size.rows, p.d_bias.data(), y.data(), size.outputs);
    scale_outputs(gpu_stream(), p.weights, size.rows, nullptr, unbiased.data(), size.outputs);
    const auto got = y.host(), got_unbiased = unbiased.host();
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const auto n = static_cast<std::int64_t>(i) % size.outputs;
      const float scale = p.matrix.scale(n, 0);
      ASSERT_EQ(got[i], std::fma(sums[i], scale, p.bias[static_cast<std::size_t>(n)])) << i;
      ASSERT_EQ(got_unbiased[i], sums[i] * scale) << i;
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels
