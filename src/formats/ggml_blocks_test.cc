// Every quantized type: blocks written out by hand, and random blocks against each value computed
// on its own from the definition in docs/formats/gguf.md.
#include "formats/ggml_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace aquatint {
namespace {

using Bytes = std::vector<std::uint8_t>;

std::vector<float> expand(const char* type, const Bytes& bytes) {
  const GgmlType* found = find_ggml_type(type);
  const auto blocks = static_cast<std::int64_t>(bytes.size()) / found->bytes;
  std::vector<float> out(static_cast<std::size_t>(blocks * found->values));
  // One byte off, so that nothing may rely on alignment.
  std::vector<std::byte> moved(bytes.size() + 1);
  std::memcpy(moved.data() + 1, bytes.data(), bytes.size());
  found->expand(moved.data() + 1, blocks, out.data());
  return out;
}

float half(const std::uint8_t* p) {
  return f16_to_f32(static_cast<std::uint16_t>(p[0] + 256 * p[1]));
}

int bits(int byte, int from, int count) {
  return (byte >> from) % (1 << count);
}

// Value i of the block at `b`, from the definition.
float q4_0(const std::uint8_t* b, int i) {
  return static_cast<float>(bits(b[2 + i % 16], i < 16 ? 0 : 4, 4) - 8) * half(b);
}
float q4_1(const std::uint8_t* b, int i) {
  return static_cast<float>(bits(b[4 + i % 16], i < 16 ? 0 : 4, 4)) * half(b) + half(b + 2);
}
float q5_0(const std::uint8_t* b, int i) {
  const int q = bits(b[6 + i % 16], i < 16 ? 0 : 4, 4) + 16 * bits(b[2 + i / 8], i % 8, 1);
  return static_cast<float>(q - 16) * half(b);
}
float q5_1(const std::uint8_t* b, int i) {
  const int q = bits(b[8 + i % 16], i < 16 ? 0 : 4, 4) + 16 * bits(b[4 + i / 8], i % 8, 1);
  return static_cast<float>(q) * half(b) + half(b + 2);
}
float q8_0(const std::uint8_t* b, int i) {
  const int q = b[2 + i] < 128 ? b[2 + i] : b[2 + i] - 256;
  return static_cast<float>(q) * half(b);
}
int k_scale(const std::uint8_t* packed, int j) {
  return j < 4 ? bits(packed[j], 0, 6) : bits(packed[j + 4], 0, 4) + 16 * bits(packed[j - 4], 6, 2);
}
int k_min(const std::uint8_t* packed, int j) {
  return j < 4 ? bits(packed[j + 4], 0, 6) : bits(packed[j + 4], 4, 4) + 16 * bits(packed[j], 6, 2);
}
float k_value(const std::uint8_t* b, int sub, int q) {
  return half(b) * static_cast<float>(k_scale(b + 4, sub)) * static_cast<float>(q) -
         half(b + 2) * static_cast<float>(k_min(b + 4, sub));
}
float q4_k(const std::uint8_t* b, int i) {
  const int sub = i / 32;
  return k_value(b, sub, bits(b[16 + 32 * (sub / 2) + i % 32], sub % 2 == 0 ? 0 : 4, 4));
}
float q5_k(const std::uint8_t* b, int i) {
  const int sub = i / 32;
  const int low = bits(b[48 + 32 * (sub / 2) + i % 32], sub % 2 == 0 ? 0 : 4, 4);
  return k_value(b, sub, low + 16 * bits(b[16 + i % 32], sub, 1));
}
float q6_k(const std::uint8_t* b, int i) {
  const int half_index = i / 128, in_half = i % 128, quarter = in_half / 32;
  const int low = bits(b[64 * half_index + in_half % 64], in_half < 64 ? 0 : 4, 4);
  const int high = bits(b[128 + 32 * half_index + i % 32], 2 * quarter, 2);
  const int scale = b[192 + i / 16] < 128 ? b[192 + i / 16] : b[192 + i / 16] - 256;
  return half(b + 208) * static_cast<float>(scale) * static_cast<float>(low + 16 * high - 32);
}

struct Definition {
  const char* name;
  float (*value)(const std::uint8_t* block, int i);
  std::vector<int> halves;  // where the block's float16 numbers are
};

class GgmlBlocks : public ::testing::TestWithParam<Definition> {};

TEST_P(GgmlBlocks, RandomBlocksAreAsDefined) {
  const Definition& definition = GetParam();
  const GgmlType& type = *find_ggml_type(definition.name);
  constexpr int kBlocks = 40;
  std::mt19937 random(7);
  Bytes bytes(static_cast<std::size_t>(kBlocks * type.bytes));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  std::uniform_real_distribution<float> scale(-2.0f, 2.0f);
  for (int block = 0; block < kBlocks; ++block) {
    for (const int at : definition.halves) {
      const std::uint16_t d = f32_to_f16(scale(random));
      std::memcpy(&bytes[static_cast<std::size_t>(block * type.bytes + at)], &d, sizeof(d));
    }
  }
  const std::vector<float> values = expand(definition.name, bytes);
  for (int i = 0; i < static_cast<int>(values.size()); ++i) {
    const auto per_block = static_cast<int>(type.values);
    const std::uint8_t* block =
        &bytes[static_cast<std::size_t>(i / per_block * static_cast<int>(type.bytes))];
    const float expected = definition.value(block, i % per_block);
    ASSERT_NEAR(values[static_cast<std::size_t>(i)], expected, 1e-6f * (1 + std::abs(expected)))
        << definition.name << " value " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, GgmlBlocks,
    ::testing::Values(Definition{"Q4_0", q4_0, {0}}, Definition{"Q4_1", q4_1, {0, 2}},
                      Definition{"Q5_0", q5_0, {0}}, Definition{"Q5_1", q5_1, {0, 2}},
                      Definition{"Q8_0", q8_0, {0}}, Definition{"Q4_K", q4_k, {0, 2}},
                      Definition{"Q5_K", q5_k, {0, 2}}, Definition{"Q6_K", q6_k, {208}}),
    [](const auto& row) { return std::string(row.param.name); });

// Blocks written out: 0x3c00 is 1, 0x3800 is 1/2, 0xc000 is -2 in float16.
TEST(GgmlBlocks, BlocksByHand) {
  Bytes q4(18, 0);
  q4[1] = 0x38;
  q4[2] = 0x1f;   // values 0 and 16: 15 and 1
  q4[17] = 0x80;  // values 15 and 31: 0 and 8
  std::vector<float> y = expand("Q4_0", q4);
  EXPECT_EQ(y[0], 3.5f);
  EXPECT_EQ(y[16], -3.5f);
  EXPECT_EQ(y[15], -4.0f);
  EXPECT_EQ(y[31], 0.0f);

  Bytes q4_1(20, 0x21);  // every byte a 1 and a 2
  q4_1[0] = 0x00, q4_1[1] = 0x3c;
  q4_1[2] = 0x00, q4_1[3] = 0xc0;
  y = expand("Q4_1", q4_1);
  EXPECT_EQ(y[3], -1.0f);
  EXPECT_EQ(y[19], 0.0f);

  Bytes q8(34, 0xff);
  q8[0] = 0x00, q8[1] = 0xc0;
  EXPECT_EQ(expand("Q8_0", q8)[31], 2.0f);

  // Q4_K: all nibbles 1, d 1, dmin 1/2; sub-block 0 has scale 3 and minimum 2, sub-block 5 scale
  // 17 = 1 + 16 and minimum 34 = 2 + 32.
  Bytes q4_k(144, 0x11);
  for (int i = 0; i < 16; ++i) q4_k[static_cast<std::size_t>(i)] = 0;
  q4_k[1] = 0x3c, q4_k[3] = 0x38;
  q4_k[4] = 3, q4_k[8] = 2;
  q4_k[4 + 9] = 0x21;
  q4_k[4 + 1] = 1 << 6;
  q4_k[4 + 5] = 2 << 6;
  y = expand("Q4_K", q4_k);
  EXPECT_EQ(y[0], 3.0f - 1.0f);
  EXPECT_EQ(y[5 * 32 + 31], 17.0f - 17.0f);
  EXPECT_EQ(y[2 * 32], 0.0f);

  // Q6_K: value 129 (second half, first quarter, byte 1) has nibble 5 and high pair 2: 37 - 32.
  Bytes q6(210, 0);
  q6[209] = 0x3c;
  q6[64 + 1] = 0x05;
  q6[128 + 32 + 1] = 0x02;
  q6[192 + 8] = static_cast<std::uint8_t>(-3);
  EXPECT_EQ(expand("Q6_K", q6)[129], -15.0f);
}

TEST(GgmlBlocks, TypesThatAreOnlyKnown) {
  EXPECT_EQ(find_ggml_type("Q2_K")->expand, nullptr);
  EXPECT_EQ(find_ggml_type(std::uint32_t{4}), nullptr);  // removed from the format
  EXPECT_EQ(find_ggml_type("Q9_9"), nullptr);
}

}  // namespace
}  // namespace aquatint
