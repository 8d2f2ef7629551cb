#include "kernels/matmul/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/dtype.h"
#include "base/mapped_file.h"
#include "base/threads.h"
#include "kernels/matmul/matmul_internal.h"
#include "kernels/matmul/variants.h"

namespace aquatint::kernels {
namespace {

struct Size {
  std::int64_t rows, outputs, columns;
};

const std::vector<Size> kSizes = {{1, 1, 1},      {1, 7, 5},     {3, 64, 64},   {2, 65, 129},
                                  {1, 2048, 16},  {5, 16, 2048}, {17, 100, 33}, {130, 257, 63},
                                  {1, 300, 1000}, {33, 513, 384}};

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

std::vector<float> random_floats(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size(n));
  for (float& v : values) v = normal(generator);
  return values;
}

std::vector<std::uint16_t> to_bf16(const std::vector<float>& values) {
  std::vector<std::uint16_t> out(values.size());
  convert_from_f32(values.data(), values.size(), DType::kBF16, out.data());
  return out;
}

template <typename T>
Tensor matrix(const std::vector<T>& values, std::int64_t n, std::int64_t k, DType dtype) {
  Tensor t = Tensor::empty({n, k}, dtype);
  std::memcpy(t.mutable_bytes(), values.data(), t.nbytes());
  return t;
}

void expect_close(const std::vector<float>& actual, const std::vector<float>& expected,
                  std::int64_t columns) {
  const float tolerance = 1e-5f * std::sqrt(static_cast<float>(columns));
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], tolerance * (1 + std::abs(expected[i]) / 8)) << i;
  }
}

TEST(MatmulF32, MatchesReferenceForAllShapes) {
  for (const auto& [rows, outputs, columns] : kSizes) {
    SCOPED_TRACE(testing::Message() << rows << "x" << outputs << "x" << columns);
    const auto x = random_floats(rows * columns, 1);
    const auto w = random_floats(outputs * columns, 2);
    const auto bias = random_floats(outputs, 3);
    const auto weights =
        DenseWeights::pack(matrix(w, outputs, columns, DType::kF32), DenseType::kF32);
    EXPECT_EQ(weights.outputs(), outputs);
    EXPECT_EQ(weights.columns(), columns);
    EXPECT_GE(weights.nbytes(), size(outputs * columns) * 4);
    for (const bool with_bias : {false, true}) {
      for (const std::int64_t extra : {0, 3}) {
        const std::int64_t ldy = outputs + extra;
        const float* b = with_bias ? bias.data() : nullptr;
        std::vector<float> expected(size(rows * ldy), -7.0f), actual = expected;
        detail::matmul_f32_reference(x.data(), rows, columns, w.data(), outputs, b, expected.data(),
                                     ldy);
        matmul_f32(x.data(), rows, weights, b, actual.data(), ldy);
        expect_close(actual, expected, columns);
      }
    }
  }
}

TEST(MatmulBF16, MatchesReferenceForAllShapes) {
  for (const auto& [rows, outputs, columns] : kSizes) {
    SCOPED_TRACE(testing::Message() << rows << "x" << outputs << "x" << columns);
    const auto x = to_bf16(random_floats(rows * columns, 4));
    const auto w = random_floats(outputs * columns, 5);
    const auto bias = random_floats(outputs, 6);
    const auto weights =
        DenseWeights::pack(matrix(w, outputs, columns, DType::kF32), DenseType::kBF16);
    const auto rounded = to_bf16(w);
    const std::int64_t ldy = outputs + rows % 2;
    std::vector<float> expected(size(rows * ldy), 0.5f), actual = expected;
    detail::matmul_bf16_reference(x.data(), rows, columns, rounded.data(), outputs, bias.data(),
                                  expected.data(), ldy);
    matmul_bf16(x.data(), rows, weights, bias.data(), actual.data(), ldy);
    expect_close(actual, expected, columns);
  }
}

TEST(MatmulU8S8, IsExactForAllShapes) {
  std::mt19937 generator(7);
  for (const auto& [rows, outputs, columns] : kSizes) {
    SCOPED_TRACE(testing::Message() << rows << "x" << outputs << "x" << columns);
    std::vector<std::uint8_t> x(size(rows * columns));
    std::vector<std::int8_t> w(size(outputs * columns));
    // Mostly extremes: saturating 16-bit sums would show.
    for (auto& v : x)
      v = static_cast<std::uint8_t>(generator() % 3 != 0 ? 255u : generator() % 256u);
    for (auto& v : w) {
      v = generator() % 3 != 0 ? std::int8_t{-128} : static_cast<std::int8_t>(generator() % 128);
    }
    std::vector<std::int32_t> expected(size(rows * outputs)), actual(expected.size());
    detail::matmul_u8s8_reference(x.data(), rows, columns, w.data(), outputs, expected.data(),
                                  outputs);
    const auto weights = Int8Weights::pack(w.data(), outputs, columns);
    matmul_u8s8(x.data(), rows, weights, actual.data());
    EXPECT_EQ(actual, expected);
    for (const auto& variant : detail::u8s8_variants()) {
      std::fill(actual.begin(), actual.end(), 0);
      variant.function(x.data(), rows, columns, w.data(), outputs, actual.data(), outputs);
      EXPECT_EQ(actual, expected) << isa_name(variant.isa);
    }
  }
}

TEST(DenseWeights, PackReadsHalfPrecisionAndUnalignedTensors) {
  constexpr std::int64_t kOutputs = 70, kColumns = 37;
  const auto values = random_floats(kOutputs * kColumns, 8);
  const auto x = random_floats(kColumns, 9);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    std::vector<std::byte> bytes(values.size() * dtype_size(dtype) + 1);
    convert_from_f32(values.data(), values.size(), dtype, bytes.data() + 1);
    std::vector<float> rounded(values.size());
    convert_to_f32(dtype, bytes.data() + 1, values.size(), rounded.data());
    const std::string path = testing::TempDir() + "/aquatint_matmul_weights.bin";
    std::FILE* file = std::fopen(path.c_str(), "wb");
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
    std::fclose(file);
    const Tensor weight = Tensor::mapped(MappedFile::open(path), 1, {kOutputs, kColumns}, dtype);
    std::vector<float> expected(kOutputs), actual(kOutputs);
    detail::matmul_f32_reference(x.data(), 1, kColumns, rounded.data(), kOutputs, nullptr,
                                 expected.data(), kOutputs);
    matmul_f32(x.data(), 1, DenseWeights::pack(weight, DenseType::kF32), nullptr, actual.data(),
               kOutputs);
    expect_close(actual, expected, kColumns);
    std::remove(path.c_str());
  }
}

TEST(DenseWeights, RejectsWhatIsNotAFloatMatrix) {
  EXPECT_THROW(DenseWeights::pack(Tensor::zeros({4}, DType::kF32), DenseType::kF32), Error);
  EXPECT_THROW(DenseWeights::pack(Tensor::zeros({4, 4}, DType::kI8), DenseType::kF32), Error);
  EXPECT_THROW(DenseWeights::pack(Tensor::zeros({0, 4}, DType::kF32), DenseType::kF32), Error);
}

// More than one slice of the packing loop.
TEST(DenseWeights, PackingInSlicesIsSeamless) {
  constexpr std::int64_t kOutputs = 1300, kColumns = 2051;
  const auto w = random_floats(kOutputs * kColumns, 10);
  const auto x = random_floats(kColumns, 11);
  std::vector<float> expected(kOutputs), actual(kOutputs);
  detail::matmul_f32_reference(x.data(), 1, kColumns, w.data(), kOutputs, nullptr, expected.data(),
                               kOutputs);
  matmul_f32(x.data(), 1,
             DenseWeights::pack(matrix(w, kOutputs, kColumns, DType::kF32), DenseType::kF32),
             nullptr, actual.data(), kOutputs);
  expect_close(actual, expected, kColumns);
}

TEST(MatmulF32, SameBitsEveryTimeAndCloseForEveryBatch) {
  constexpr std::int64_t kRows = 129, kOutputs = 384, kColumns = 512;
  const auto x = random_floats(kRows * kColumns, 12);
  const auto w = random_floats(kOutputs * kColumns, 13);
  const auto weights =
      DenseWeights::pack(matrix(w, kOutputs, kColumns, DType::kF32), DenseType::kF32);
  std::vector<float> first(kRows * kOutputs), again(first.size());
  matmul_f32(x.data(), kRows, weights, nullptr, first.data(), kOutputs);
  for (int i = 0; i < 5; ++i) {
    matmul_f32(x.data(), kRows, weights, nullptr, again.data(), kOutputs);
    ASSERT_EQ(first, again);
  }
  for (std::int64_t m = 0; m < kRows; ++m) {
    matmul_f32(x.data() + m * kColumns, 1, weights, nullptr, again.data() + m * kOutputs, kOutputs);
  }
  expect_close(again, first, kColumns / 8);
}

TEST(MatmulF32, WorksInsideParallelRegionsAndWithFewerThreads) {
  constexpr std::int64_t kRows = 40, kOutputs = 200, kColumns = 96;
  const auto x = random_floats(kRows * kColumns, 14);
  const auto w = random_floats(kOutputs * kColumns, 15);
  const auto weights =
      DenseWeights::pack(matrix(w, kOutputs, kColumns, DType::kF32), DenseType::kF32);
  std::vector<float> expected(kRows * kOutputs), actual(expected.size());
  detail::matmul_f32_reference(x.data(), kRows, kColumns, w.data(), kOutputs, nullptr,
                               expected.data(), kOutputs);
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    std::fill(actual.begin(), actual.end(), 0.0f);
    matmul_f32(x.data(), kRows, weights, nullptr, actual.data(), kOutputs);
    expect_close(actual, expected, kColumns);
    std::fill(actual.begin(), actual.end(), 0.0f);
    parallel_for(kRows, 1, [&](std::int64_t begin, std::int64_t end) {
      matmul_f32(x.data() + begin * kColumns, end - begin, weights, nullptr,
                 actual.data() + begin * kOutputs, kOutputs);
    });
    expect_close(actual, expected, kColumns);
    EXPECT_EQ(num_threads(), threads);
  }
  set_num_threads(0);
}

}  // namespace
}  // namespace aquatint::kernels
