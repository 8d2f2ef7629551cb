#include "kernels/embedding/embedding.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/error.h"
#include "kernels/embedding/variants.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kVocabulary = 50;

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

std::vector<float> random_floats(std::int64_t n) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(size(n));
  for (float& v : values) v = normal(generator) * (generator() % 4 == 0 ? 1e-5f : 1.0f);
  return values;
}

TEST(Embedding, VariantsEqualReferenceBitForBit) {
  for (const std::int64_t columns : {1, 7, 8, 9, 33, 384}) {
    const auto values = random_floats(columns);
    std::vector<std::byte> bytes(values.size() * 4 + 1);
    std::vector<float> expected(values.size()), actual(values.size());
    const auto check = [&](DType dtype, detail::EmbedRowFunction detail::EmbeddingKernels::*row) {
      // One byte off: mapped tables need not be aligned.
      convert_from_f32(values.data(), values.size(), dtype, bytes.data() + 1);
      (detail::kEmbeddingReference.*row)(bytes.data() + 1, 1, columns, expected.data());
      for (const auto& variant : detail::embedding_variants()) {
        (variant.kernels->*row)(bytes.data() + 1, 1, columns, actual.data());
        EXPECT_EQ(actual, expected) << isa_name(variant.isa) << " " << dtype_name(dtype);
      }
    };
    check(DType::kF32, &detail::EmbeddingKernels::f32);
    EXPECT_EQ(expected, values);
    check(DType::kF16, &detail::EmbeddingKernels::f16);
    check(DType::kBF16, &detail::EmbeddingKernels::bf16);
    std::vector<std::int8_t> quantized(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      quantized[i] = static_cast<std::int8_t>(static_cast<int>(i * 37 % 256) - 128);
    }
    detail::kEmbeddingReference.i8(quantized.data(), 0.013f, columns, expected.data());
    for (const auto& variant : detail::embedding_variants()) {
      variant.kernels->i8(quantized.data(), 0.013f, columns, actual.data());
      EXPECT_EQ(actual, expected) << isa_name(variant.isa);
    }
  }
}

TEST(Embedding, GathersRowsById) {
  constexpr std::int64_t kColumns = 1000, kRows = 203;
  const auto table = random_floats(kVocabulary * kColumns);
  std::vector<std::int32_t> ids(size(kRows));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 17 % 50);
  std::vector<float> y(size(kRows * kColumns));
  embed_rows(table.data(), DType::kF32, kVocabulary, kColumns, ids.data(), kRows, y.data());
  std::vector<std::int8_t> values(table.size());
  std::vector<float> scales(size(kVocabulary)), quantized(y.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int8_t>(i % 127);
  for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<float>(i);
  embed_rows_int8(values.data(), scales.data(), kVocabulary, kColumns, ids.data(), kRows,
                  quantized.data());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t id = static_cast<std::size_t>(ids[i / kColumns]);
    const std::size_t at = id * kColumns + i % kColumns;
    ASSERT_EQ(y[i], table[at]);
    ASSERT_EQ(quantized[i], static_cast<float>(values[at]) * scales[id]);
  }
}

TEST(Embedding, IdsOutsideTheVocabularyAreErrors) {
  const auto table = random_floats(kVocabulary * 4);
  std::vector<float> y(8);
  for (const std::int32_t bad : {-1, 50, 1 << 30}) {
    const std::vector<std::int32_t> ids = {0, bad};
    try {
      embed_rows(table.data(), DType::kF32, kVocabulary, 4, ids.data(), 2, y.data());
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find(std::to_string(bad)), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels
