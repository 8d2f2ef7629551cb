#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/cuda_testing.h"
#include "kernels/embedding/embedding.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

constexpr std::int64_t kVocabulary = 50;

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

std::vector<std::int32_t> some_ids(std::int64_t rows) {
  std::vector<std::int32_t> ids(size(rows));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 17 % 50);
  if (rows > 1) ids.back() = kVocabulary - 1;
  return ids;
}

// Conversions are exact and int8 takes one product: the CPU's bits.
TEST(EmbeddingCuda, FloatTablesEqualTheCpuBitForBit) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  for (const std::int64_t columns : {1, 7, 8, 33, 384, 1001, 2048}) {
    std::vector<float> values(size(kVocabulary * columns));
    for (float& v : values) v = normal(generator) * (generator() % 4 == 0 ? 1e-6F : 1.0F);
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      std::vector<std::byte> table(values.size() * dtype_size(dtype));
      convert_from_f32(values.data(), values.size(), dtype, table.data());
      const DeviceArray<std::uint8_t> d_table(std::vector<std::uint8_t>(
          reinterpret_cast<const std::uint8_t*>(table.data()),
          reinterpret_cast<const std::uint8_t*>(table.data()) + table.size()));
      for (const std::int64_t rows : {1, 3, 203}) {
        const auto ids = some_ids(rows);
        const DeviceArray d_ids(ids);
        std::vector<float> expected(size(rows * columns));
        embed_rows(table.data(), dtype, kVocabulary, columns, ids.data(), rows, expected.data());
        const auto y = DeviceArray<float>::poisoned(expected.size());
        embed_rows(gpu_stream(), d_table.data(), dtype, kVocabulary, columns, d_ids.data(), rows,
                   y.data());
        ASSERT_EQ(y.host(), expected) << dtype_name(dtype) << " " << rows << " x " << columns;
      }
    }
  }
}

TEST(EmbeddingCuda, Int8TablesEqualTheCpuBitForBit) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  for (const std::int64_t columns : {1, 7, 8, 33, 384, 1001, 2048}) {
    std::vector<std::int8_t> values(size(kVocabulary * columns));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<std::int8_t>(static_cast<int>(i * 37 % 256) - 128);
    }
    std::vector<float> scales(size(kVocabulary));
    for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = 0.013F * static_cast<float>(i);
    constexpr std::int64_t kRows = 61;
    const auto ids = some_ids(kRows);
    std::vector<float> expected(size(kRows * columns));
    embed_rows_int8(values.data(), scales.data(), kVocabulary, columns, ids.data(), kRows,
                    expected.data());
    const DeviceArray d_values(values);
    const DeviceArray d_scales(scales);
    const DeviceArray d_ids(ids);
    const auto y = DeviceArray<float>::poisoned(expected.size());
    embed_rows_int8(gpu_stream(), d_values.data(), d_scales.data(), kVocabulary, columns,
                    d_ids.data(), kRows, y.data());
    ASSERT_EQ(y.host(), expected) << columns;
  }
}

}  // namespace
}  // namespace aquatint::kernels
