// The CUDA form of round_nearest has the bits of the CPU's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "base/error.h"
#include "kernels/cuda_testing.h"
#include "kernels/round_nearest/round_nearest.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

constexpr DType kFloats[] = {DType::kF32, DType::kF16, DType::kBF16};

struct Result {
  std::vector<std::int8_t> values, zero_points;
  std::vector<std::uint32_t> scales;  // bits
  bool operator==(const Result&) const = default;
};

struct Case {
  std::int64_t rows, columns;
  WeightScheme scheme;
  DType dtype, scale_dtype;
  std::size_t skipped = 0;  // elements between the start of an allocation and the weights

  std::size_t numel() const { return static_cast<std::size_t>(rows * columns); }
  std::size_t scales() const {
    const bool one = scheme.granularity == Granularity::kTensor;
    return one ? 1 : static_cast<std::size_t>(rows * scheme.groups(columns));
  }
  std::string str() const {
    return fmt::format("{} x {}, {}, {} with scales of {}, {} skipped", rows, columns, scheme.str(),
                       dtype_name(dtype), dtype_name(scale_dtype), skipped);
  }
};

// `values`, which fit the type, as it stores them, behind those to skip.
std::vector<std::uint8_t> stored(const std::vector<float>& values, const Case& c) {
  const std::size_t size = dtype_size(c.dtype);
  std::vector<std::uint8_t> bytes((c.skipped + values.size()) * size, 0xee);
  convert_from_f32(values.data(), values.size(), c.dtype, bytes.data() + c.skipped * size);
  return bytes;
}

RoundNearestTask task_of(const Case& c, const std::uint8_t* bytes) {
  RoundNearestTask task;
  task.weights = bytes + c.skipped * dtype_size(c.dtype);
  task.dtype = c.dtype;
  task.rows = c.rows;
  task.columns = c.columns;
  task.scheme = c.scheme;
  task.scale_dtype = c.scale_dtype;
  return task;
}

Result on_cpu(const Case& c, const std::vector<std::uint8_t>& bytes) {
  Result r;
  r.values.resize(c.numel());
  r.scales.resize(c.scales());
  std::vector<float> scales(c.scales());
  RoundNearestTask task = task_of(c, bytes.data());
  task.values = r.values.data();
  task.scales = scales.data();
  if (!c.scheme.symmetric) {
    r.zero_points.resize(c.scales());
    task.zero_points = r.zero_points.data();
  }
  round_nearest(task);
  std::memcpy(r.scales.data(), scales.data(), scales.size() * sizeof(float));
  return r;
}

Result on_gpu(const Case& c, const std::vector<std::uint8_t>& bytes) {
  const DeviceArray<std::uint8_t> weights(bytes);
  const auto values = DeviceArray<std::int8_t>::poisoned(c.numel() + c.skipped);
  const auto scales = DeviceArray<float>::poisoned(c.scales());
  const auto zero_points = DeviceArray<std::int8_t>::poisoned(c.scheme.symmetric ? 0 : c.scales());
  RoundNearestTask task = task_of(c, weights.data());
  task.values = values.data() + c.skipped;
  task.scales = scales.data();
  if (!c.scheme.symmetric) task.zero_points = zero_points.data();
  round_nearest(gpu_stream(), task);
  Result r{values.host(), zero_points.host(), {}};
  EXPECT_TRUE(std::all_of(r.values.begin(), r.values.begin() + static_cast<int>(c.skipped),
                          [](std::int8_t v) { return v == 127; }))
      << c.str();
  r.values.erase(r.values.begin(), r.values.begin() + static_cast<int>(c.skipped));
  const std::vector<float> host = scales.host();
  r.scales.resize(host.size());
  std::memcpy(r.scales.data(), host.data(), host.size() * sizeof(float));
  return r;
}

void expect_same(const Case& c, const std::vector<float>& weights) {
  const auto bytes = stored(weights, c);
  const Result cpu = on_cpu(c, bytes), gpu = on_gpu(c, bytes);
  EXPECT_EQ(gpu.scales, cpu.scales) << c.str();
  EXPECT_EQ(gpu.zero_points, cpu.zero_points) << c.str();
  EXPECT_EQ(gpu.values, cpu.values) << c.str();
}

// Rows of very different sizes: ordinary ones with whole and half steps of a grid among them, of
// one sign, of zeros (with their sign bit set, too), and the type's largest and smallest numbers.
std::vector<float> random_weights(const Case& c) {
  std::mt19937 random(static_cast<unsigned>(c.rows * 7919 + c.columns));
  std::normal_distribution<float> normal(0.02f, 1.0f);
  const bool half = c.dtype == DType::kF16;
  const float largest = half ? 65504.0f : 3.3e38f, smallest = half ? 0x1p-24f : 0x1p-133f;
  std::vector<float> w(c.numel());
  for (std::size_t i = 0; i < w.size(); ++i) {
    const std::size_t row = i / static_cast<std::size_t>(c.columns);
    const float value = normal(random);
    const float steps = std::floor(value * 20) / 2;
    switch (row % 8) {
      case 0:
        w[i] = i % 5 == 0 ? steps : value;
        break;
      case 1:
        w[i] = std::abs(value);
        break;
      case 2:
        w[i] = -std::abs(value);
        break;
      case 3:
        w[i] = i % 2 == 0 ? 0.0f : -0.0f;
        break;
      case 4:
        w[i] = i % 3 == 0 ? largest : -largest * std::min(1.0f, std::abs(value));
        break;
      case 5:
        w[i] = steps * smallest;
        break;
      case 6:
        w[i] = std::ldexp(value, half ? -12 : -98);  // scales near the smallest allowed
        break;
      default:
        w[i] = std::ldexp(value, static_cast<int>(i % 20) - 14);
    }
  }
  return w;
}

// A tensor-wide scale sees all rows; rows of ordinary size then show that it is right.
std::vector<float> weights_for(const Case& c) {
  std::vector<float> w = random_weights(c);
  if (c.scheme.granularity != Granularity::kTensor) return w;
  for (float& value : w) value = std::abs(value) > 100 ? 0.5f : value;
  return w;
}

std::vector<WeightScheme> schemes() {
  std::vector<WeightScheme> all;
  for (const int bits : {2, 4, 8}) {
    for (const bool symmetric : {true, false}) {
      all.push_back({bits, symmetric, Granularity::kTensor, 0});
      all.push_back({bits, symmetric, Granularity::kRow, 0});
      for (const std::int64_t group : {1, 7, 16, 128, 1500, 100000}) {
        all.push_back({bits, symmetric, Granularity::kGroup, group});
      }
    }
  }
  return all;
}

class RoundNearestCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  }
};

TEST_F(RoundNearestCuda, HasTheBitsOfTheCpu) {
  for (const auto& [rows, columns] : {std::pair{1, 1}, {9, 7}, {19, 130}, {16, 256}, {17, 3001}}) {
    for (const WeightScheme& scheme : schemes()) {
      for (const DType dtype : kFloats) {
        for (const DType scale_dtype : kFloats) {
          const Case c{rows, columns, scheme, dtype, scale_dtype};
          expect_same(c, weights_for(c));
        }
      }
    }
  }
}

TEST_F(RoundNearestCuda, UnalignedWeightsAreReadOneByOne) {
  for (const DType dtype : kFloats) {
    const Case c{11, 256, {4, false, Granularity::kGroup, 32}, dtype, dtype, 1};
    expect_same(c, weights_for(c));
  }
}

// More groups than the grid has warps and blocks, and more values than its threads.
TEST_F(RoundNearestCuda, LargeMatrices) {
  for (const WeightScheme& scheme : {WeightScheme{4, false, Granularity::kGroup, 16},
                                     {8, true, Granularity::kRow, 0},
                                     {8, false, Granularity::kTensor, 0}}) {
    for (const auto& [rows, columns] : {std::pair{20000, 1040}, {9001, 160}}) {
      const Case c{rows, columns, scheme, DType::kBF16, DType::kBF16};
      expect_same(c, weights_for(c));
    }
  }
}

// Every positive bfloat16, each alone in its row: scales of all sizes, in all types.
TEST_F(RoundNearestCuda, ScalesOfEverySize) {
  const Case shape{0x7f80, 1, {}, DType::kBF16, DType::kF32};
  std::vector<float> weights(static_cast<std::size_t>(shape.rows));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    weights[i] = bf16_to_f32(static_cast<std::uint16_t>(i)) * (i % 3 == 0 ? -1.0f : 1.0f);
  }
  for (const WeightScheme& scheme : schemes()) {
    if (scheme.granularity != Granularity::kRow) continue;
    for (const DType scale_dtype : kFloats) {
      Case c = shape;
      c.scheme = scheme;
      c.scale_dtype = scale_dtype;
      expect_same(c, weights);
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels
