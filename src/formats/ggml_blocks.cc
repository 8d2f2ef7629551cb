#include "formats/ggml_blocks.h"

#include <cstring>
#include <string_view>

#include "base/dtype.h"

namespace aquatint {
namespace {

constexpr GgmlType kTypes[] = {
    {0, "F32", 1, 4, nullptr},           {1, "F16", 1, 2, nullptr},
    {2, "Q4_0", 32, 18, expand_q4_0},    {3, "Q4_1", 32, 20, expand_q4_1},
    {6, "Q5_0", 32, 22, expand_q5_0},    {7, "Q5_1", 32, 24, expand_q5_1},
    {8, "Q8_0", 32, 34, expand_q8_0},    {10, "Q2_K", 256, 84, nullptr},
    {11, "Q3_K", 256, 110, nullptr},     {12, "Q4_K", 256, 144, expand_q4_k},
    {13, "Q5_K", 256, 176, expand_q5_k}, {14, "Q6_K", 256, 210, expand_q6_k},
    {15, "Q8_K", 256, 292, nullptr},     {16, "IQ2_XXS", 256, 66, nullptr},
    {17, "IQ2_XS", 256, 74, nullptr},    {18, "IQ3_XXS", 256, 98, nullptr},
    {19, "IQ1_S", 256, 50, nullptr},     {20, "IQ4_NL", 32, 18, nullptr},
    {21, "IQ3_S", 256, 110, nullptr},    {22, "IQ2_S", 256, 82, nullptr},
    {23, "IQ4_XS", 256, 136, nullptr},   {24, "I8", 1, 1, nullptr},
    {25, "I16", 1, 2, nullptr},          {26, "I32", 1, 4, nullptr},
    {27, "I64", 1, 8, nullptr},          {28, "F64", 1, 8, nullptr},
    {29, "IQ1_M", 256, 56, nullptr},     {30, "BF16", 1, 2, nullptr},
    {34, "TQ1_0", 256, 54, nullptr},     {35, "TQ2_0", 256, 66, nullptr},
    {39, "MXFP4", 32, 17, nullptr},
};

float half_at(const std::uint8_t* p) {
  return f16_to_f32(static_cast<std::uint16_t>(p[0] | (p[1] << 8)));
}

// Calls `expand_one(block, values)` for each block.
template <std::int64_t kValues, std::int64_t kBytes, typename ExpandOne>
void each_block(const std::byte* from, std::int64_t blocks, float* to,
                const ExpandOne& expand_one) {
  const auto* block = reinterpret_cast<const std::uint8_t*>(from);
  for (std::int64_t i = 0; i < blocks; ++i) {
    expand_one(block, to);
    block += kBytes;
    to += kValues;
  }
}

// Two values of 4 bits in a byte: the low ones are the first half of the block. With `high` (32
// bits, or null), bit j of it is the fifth bit of value j.
template <typename Value>
void expand_nibbles(const std::uint8_t* nibbles, const std::uint8_t* high, float* y,
                    const Value& value) {
  std::uint32_t bits = 0;
  if (high != nullptr) std::memcpy(&bits, high, sizeof(bits));
  for (unsigned j = 0; j < 16; ++j) {
    const unsigned low = (nibbles[j] & 15u) | (((bits >> j) & 1u) << 4);
    const unsigned up = (nibbles[j] >> 4) | (((bits >> (j + 16)) & 1u) << 4);
    y[j] = value(static_cast<int>(low));
    y[j + 16] = value(static_cast<int>(up));
  }
}

// The scale and the minimum, 6 bits each, of sub-block j of 8, from 12 bytes.
struct ScaleMin {
  int scale, min;
};

ScaleMin scale_min(const std::uint8_t* packed, int j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4),
          (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4)};
}

}  // namespace

const GgmlType* find_ggml_type(std::uint32_t id) {
  for (const GgmlType& type : kTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

const GgmlType* find_ggml_type(const char* name) {
  for (const GgmlType& type : kTypes) {
    if (std::string_view(type.name) == name) return &type;
  }
  return nullptr;
}

void expand_q4_0(const std::byte* from, std::int64_t blocks, float* to) {
  each_block<32, 18>(from, blocks, to, [](const std::uint8_t* block, float* y) {
    const float d = half_at(block);
    expand_nibbles(block + 2, nullptr, y, [&](int q) { return static_cast<float>(q - 8) * d; });
  });
}

void expand_q4_1(const std::byte* from, std::int64_t blocks, float* to) {
  each_block<32, 20>(from, blocks, to, [](const std::uint8_t* block, float* y) {
    const float d = half_at(block), m = half_at(block + 2);
    expand_nibbles(block + 4, nullptr, y, [&](int q) { return static_cast<float>(q) * d + m; });
  });
}

void expand_q5_0(const std::byte* from, std::int64_t blocks, float* to) {
  each_block<32, 22>(from, blocks, to, [](const std::uint8_t* block, float* y) {
    const float d = half_at(block);
    expand_nibbles(block + 6, block + 2, y, [&](int q) { return static_cast<float>(q - 16) * d; });
  });
}

void expand_q5_1(const std::byte* from, std::int64_t blocks, float* to) {
  each_block<32, 24>(from, blocks, to, [](const std::uint8_t* block, float* y) {
    const float d = half_at(block), m = half_at(block + 2);
    expand_nibbles(block + 8, block + 4, y, [&](int q) { return static_cast<float>(q) * d + m; });
  });
}

void expand_q8_0(const std::byte* from, std::int64_t blocks, float* to) {
  each_block<32, 34>(from, blocks, to, [](const std::uint8_t* block, float* y) {
    const float d = half_at(block);
    for (int j = 0; j < 32; ++j) {
      y[j] = static_cast<float>(static_cast<std::int8_t>(block[2 + j])) * d;
    }
  });
}

// d, dmin, 12 bytes of scales, 128 bytes of nibbles. 32 bytes hold two sub-blocks of 32 values: the
// low nibbles are the first.
void expand_q4_k(const std::byte* from, std::int64_t blocks, float* to) {
  each_block<256, 144>(from, blocks, to, [](const std::uint8_t* block, float* y) {
    const float d = half_at(block), dmin = half_at(block + 2);
    for (int j = 0; j < 8; ++j) {
      const ScaleMin sm = scale_min(block + 4, j);
      const float scale = d * static_cast<float>(sm.scale);
      const float min = dmin * static_cast<float>(sm.min);
      const std::uint8_t* q = block + 16 + 32 * (j / 2);
      const int shift = 4 * (j % 2);
      for (int i = 0; i < 32; ++i) {
        y[32 * j + i] = scale * static_cast<float>((q[i] >> shift) & 15) - min;
      }
    }
  });
}

// As Q4_K, with 32 bytes between scales and nibbles: bit j of byte i is the fifth bit of value i of
// sub-block j.
void expand_q5_k(const std::byte* from, std::int64_t blocks, float* to) {
  each_block<256, 176>(from, blocks, to, [](const std::uint8_t* block, float* y) {
    const float d = half_at(block), dmin = half_at(block + 2);
    const std::uint8_t* high = block + 16;
    for (int j = 0; j < 8; ++j) {
      const ScaleMin sm = scale_min(block + 4, j);
      const float scale = d * static_cast<float>(sm.scale);
      const float min = dmin * static_cast<float>(sm.min);
      const std::uint8_t* q = block + 48 + 32 * (j / 2);
      const int shift = 4 * (j % 2);
      for (int i = 0; i < 32; ++i) {
        const int value = ((q[i] >> shift) & 15) | (((high[i] >> j) & 1) << 4);
        y[32 * j + i] = scale * static_cast<float>(value) - min;
      }
    }
  });
}

// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d. A half of 128 values takes
// 64, 32 and 8 of them; its quarter k of 32 values has nibbles in bytes 32 (k % 2) on, low for k <
// 2, bit pair k of each byte, and two scales.
void expand_q6_k(const std::byte* from, std::int64_t blocks, float* to) {
  each_block<256, 210>(from, blocks, to, [](const std::uint8_t* block, float* y) {
    const float d = half_at(block + 208);
    for (int half = 0; half < 2; ++half) {
      const std::uint8_t* low = block + 64 * half;
      const std::uint8_t* high = block + 128 + 32 * half;
      const std::uint8_t* scales = block + 192 + 8 * half;
      for (int k = 0; k < 4; ++k) {
        for (int i = 0; i < 32; ++i) {
          const int nibble = (low[32 * (k % 2) + i] >> (4 * (k / 2))) & 15;
          const int q = (nibble | (((high[i] >> (2 * k)) & 3) << 4)) - 32;
          const auto scale = static_cast<std::int8_t>(scales[2 * k + i / 16]);
          y[128 * half + 32 * k + i] = d * static_cast<float>(scale) * static_cast<float>(q);
        }
      }
    }
  });
}

}  // namespace aquatint
