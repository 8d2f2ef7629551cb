#include "packing/gpu_weights.h"

#include <gtest/gtest.h>

#include <cstring>
#include <tuple>

#include "packing/testing.h"

namespace aquatint {
namespace {

using testing::expect_equal;
using testing::random_matrix;

class GpuWeightsTest
    : public ::testing::TestWithParam<std::tuple<int, bool, Granularity, std::int64_t>> {};

TEST_P(GpuWeightsTest, UnpacksToTheMatrixItWasMadeFrom) {
  const auto [bits, symmetric, granularity, group] = GetParam();
  struct Size {
    std::int64_t rows, columns;
  };
  for (const Size size : {Size{1, 1}, Size{16, 16}, Size{17, 24}, Size{5, 48}, Size{33, 100},
                          Size{48, 256}, Size{31, 257}}) {
    const QuantizedMatrix m =
        random_matrix({bits, symmetric, granularity, group}, size.rows, size.columns);
    const GpuWeights packed = pack_gpu_weights(m);
    EXPECT_EQ(packed.bits, bits <= 4 ? 4 : 8);
    EXPECT_EQ(packed.asymmetric, !symmetric);
    EXPECT_EQ(packed.padded_columns % (packed.bits == 4 ? 128 : 64), 0);
    EXPECT_GE(packed.padded_columns, packed.group_size * packed.groups);
    EXPECT_GE(packed.group_size * packed.groups, size.columns);
    EXPECT_LT(packed.group_size * (packed.groups - 1), size.columns);
    expect_equal(unpack_to_f32(packed), dequantize(m));
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, GpuWeightsTest,
                         ::testing::Values(std::tuple(8, true, Granularity::kRow, 0),
                                           std::tuple(8, false, Granularity::kRow, 0),
                                           std::tuple(8, false, Granularity::kTensor, 0),
                                           std::tuple(8, false, Granularity::kGroup, 32),
                                           std::tuple(6, true, Granularity::kRow, 0),
                                           std::tuple(4, true, Granularity::kGroup, 128),
                                           std::tuple(4, false, Granularity::kGroup, 32),
                                           std::tuple(4, true, Granularity::kRow, 0),
                                           std::tuple(4, false, Granularity::kGroup, 8),
                                           std::tuple(3, false, Granularity::kGroup, 128),
                                           std::tuple(2, true, Granularity::kGroup, 16)));

TEST(GpuWeights, LaysBytesOutAsDocumented) {
  const QuantizedMatrix m8 = random_matrix({8, true, Granularity::kRow, 0}, 20, 24);
  const GpuWeights p8 = pack_gpu_weights(m8);
  EXPECT_EQ(p8.data.shape(), (Shape{32, 64}));
  EXPECT_EQ(p8.data.data<std::int8_t>()[18 * 64 + 13], m8.values.data<std::int8_t>()[18 * 24 + 13]);
  EXPECT_EQ(p8.data.data<std::int8_t>()[18 * 64 + 24], 0);
  EXPECT_EQ(p8.data.data<std::int8_t>()[20 * 64], 0);

  const QuantizedMatrix m4 = random_matrix({4, false, Granularity::kGroup, 32}, 20, 250);
  const GpuWeights p4 = pack_gpu_weights(m4);
  EXPECT_EQ(p4.data.shape(), (Shape{2, 256 * 8}));
  // Output 18 is row 2 of panel 1; columns 208..215 are word j = 2, chunk t = 2 of block 1.
  std::uint32_t word = 0;
  std::memcpy(&word, p4.data.data<std::uint8_t>() + 2048 + 1024 + 2 * 64 + 2 * 16 + 2 * 4, 4);
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t pair = (word >> (4 * i)) & 0x000f000fu;
    const std::int8_t* v = m4.values.data<std::int8_t>() + 18 * 250 + 208 + 2 * i;
    EXPECT_EQ(static_cast<int>(pair & 15u) - 8, v[0]);
    EXPECT_EQ(static_cast<int>(pair >> 16) - 8, v[1]);
  }
  EXPECT_EQ(p4.zeros.data<std::int8_t>()[(8 + 6) * 16 + 2], m4.zero_point(18, 6));
  EXPECT_EQ(p4.scales.data<float>()[(8 + 6) * 16 + 2], m4.scale(18, 6));
  EXPECT_EQ(p4.scales.data<float>()[(8 + 6) * 16 + 4], 0.0f);  // no such output
  EXPECT_EQ(p4.nbytes(), 2u * 2048 + 2 * 8 * 16 * 5);
}

TEST(GpuWeights, RefusesWhatItCannotHold) {
  EXPECT_THROW(pack_gpu_weights(random_matrix({4, true, Granularity::kGroup, 12}, 4, 24)), Error);
  QuantizedMatrix m = random_matrix({4, false, Granularity::kGroup, 8}, 4, 24);
  m.zero_points.mutable_data<std::int8_t>()[5] = -9;
  EXPECT_THROW(pack_gpu_weights(m), Error);
}

}  // namespace
}  // namespace aquatint
