#include "packing/packed_weights.h"

#include <gtest/gtest.h>

#include <tuple>

#include "packing/testing.h"

namespace aquatint {
namespace {

using testing::expect_equal;
using testing::random_matrix;

struct Size {
  std::int64_t rows, columns;
};

class PackedWeightsTest
    : public ::testing::TestWithParam<std::tuple<int, bool, Granularity, std::int64_t>> {};

TEST_P(PackedWeightsTest, UnpacksToTheMatrixItWasMadeFrom) {
  const auto [bits, symmetric, granularity, group] = GetParam();
  const WeightScheme scheme{bits, symmetric, granularity, group};
  for (const Size size : {Size{1, 1}, Size{16, 16}, Size{17, 24}, Size{5, 48}, Size{33, 100},
                          Size{48, 256}, Size{31, 257}}) {
    const QuantizedMatrix m = random_matrix(scheme, size.rows, size.columns);
    const PackedWeights packed = pack_weights(m);
    EXPECT_EQ(packed.bits, bits <= 4 ? 4 : 8);
    EXPECT_GE(packed.padded_columns(), size.columns);
    EXPECT_EQ(packed.group_size % 8, 0);
    expect_equal(unpack_to_f32(packed), dequantize(m));
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, PackedWeightsTest,
                         ::testing::Values(std::tuple(8, true, Granularity::kRow, 0),
                                           std::tuple(8, false, Granularity::kRow, 0),
                                           std::tuple(8, true, Granularity::kTensor, 0),
                                           std::tuple(8, false, Granularity::kTensor, 0),
                                           std::tuple(8, false, Granularity::kGroup, 32),
                                           std::tuple(6, true, Granularity::kRow, 0),
                                           std::tuple(4, true, Granularity::kGroup, 128),
                                           std::tuple(4, false, Granularity::kGroup, 32),
                                           std::tuple(4, true, Granularity::kRow, 0),
                                           std::tuple(4, false, Granularity::kGroup, 8),
                                           std::tuple(3, false, Granularity::kGroup, 128),
                                           std::tuple(2, true, Granularity::kGroup, 16)));

TEST(PackedWeights, LaysBytesOutAsDocumented) {
  const QuantizedMatrix m8 = random_matrix({8, true, Granularity::kRow, 0}, 20, 24);
  const PackedWeights p8 = pack_weights(m8);
  const auto* v8 = m8.values.data<std::int8_t>();
  // Output 18 is lane 2 of panel 1; column 13 is byte 1 of quad 3.
  EXPECT_EQ(p8.data.data<std::uint8_t>()[24 * 16 + 3 * 64 + 2 * 4 + 1], v8[18 * 24 + 13] + 128);

  const QuantizedMatrix m4 = random_matrix({4, false, Granularity::kGroup, 8}, 20, 24);
  const PackedWeights p4 = pack_weights(m4);
  const auto* v4 = m4.values.data<std::int8_t>();
  // Columns 9 and 13 share byte 1 of quad pair 1.
  const int expected = (v4[18 * 24 + 9] + 8) | ((v4[18 * 24 + 13] + 8) << 4);
  EXPECT_EQ(p4.data.data<std::uint8_t>()[24 * 8 + 64 + 2 * 4 + 1], expected);
  EXPECT_EQ(p4.zeros.data<std::uint8_t>()[(3 + 1) * 16 + 2], m4.zero_point(18, 1) + 8);
  EXPECT_EQ(p4.scales.data<float>()[(3 + 1) * 16 + 2], m4.scale(18, 1));
}

TEST(PackedWeights, PadsWithZeroScales) {
  const PackedWeights p = pack_weights(random_matrix({4, false, Granularity::kGroup, 16}, 17, 40));
  EXPECT_EQ(p.panels(), 2);
  EXPECT_EQ(p.padded_columns(), 48);
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t lane = 1; lane < 16; ++lane) {
      EXPECT_EQ(p.scales.data<float>()[(3 + i) * 16 + lane], 0.0f);
    }
  }
  EXPECT_EQ(p.nbytes(), 2u * 48 * 8 + 2 * 3 * 16 * 5);
}

TEST(PackedWeights, OneShortGroupIsNotPaddedToTheGroupSize) {
  const PackedWeights p = pack_weights(random_matrix({4, true, Granularity::kGroup, 128}, 16, 24));
  EXPECT_EQ(p.groups, 1);
  EXPECT_EQ(p.padded_columns(), 24);
}

TEST(PackedWeights, RefusesWhatItCannotHold) {
  EXPECT_THROW(pack_weights(random_matrix({4, true, Granularity::kGroup, 12}, 4, 24)), Error);
  QuantizedMatrix m = random_matrix({4, false, Granularity::kGroup, 8}, 4, 24);
  m.zero_points.mutable_data<std::int8_t>()[5] = -9;
  EXPECT_THROW(pack_weights(m), Error);
}

}  // namespace
}  // namespace aquatint
