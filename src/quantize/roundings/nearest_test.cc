#include "quantize/roundings/nearest.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/threads.h"

namespace aquatint {
namespace {

Tensor matrix(std::int64_t rows, std::int64_t columns, const std::vector<float>& values) {
  const Tensor t = Tensor::empty({rows, columns}, DType::kF32);
  std::copy(values.begin(), values.end(), t.mutable_data<float>());
  return t;
}

Tensor random_matrix(std::int64_t rows, std::int64_t columns, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.02f, 1.0f);
  const Tensor t = Tensor::empty({rows, columns}, DType::kF32);
  for (std::int64_t i = 0; i < t.numel(); ++i) t.mutable_data<float>()[i] = normal(generator);
  return t;
}

WeightScheme scheme_of(int bits, bool symmetric, Granularity granularity, std::int64_t group = 0) {
  return {bits, symmetric, granularity, group};
}

std::vector<int> values_of(const QuantizedMatrix& q) {
  const auto* v = q.values.data<std::int8_t>();
  return {v, v + q.values.numel()};
}

// The definition, one value after the other, with the library's rounding.
void expect_is_nearest(const Tensor& weight, const QuantizedMatrix& q) {
  const std::int64_t columns = weight.dim(1);
  const std::int64_t group =
      q.scheme.granularity == Granularity::kGroup ? q.scheme.group_size : columns;
  for (std::int64_t n = 0; n < weight.dim(0); ++n) {
    for (std::int64_t k = 0; k < columns; ++k) {
      const float scale = q.scale(n, k / group);
      const int zero = q.zero_point(n, k / group);
      const float exact = std::nearbyint(weight.data<float>()[n * columns + k] / scale);
      const float clamped =
          std::clamp(exact + static_cast<float>(zero), static_cast<float>(q.scheme.qmin()),
                     static_cast<float>(q.scheme.qmax()));
      ASSERT_EQ(static_cast<int>(clamped), q.values.data<std::int8_t>()[n * columns + k])
          << q.scheme.str() << " at " << n << ", " << k;
    }
  }
}

TEST(RoundNearest, SymmetricScaleIsTwiceTheLargestOverTheSteps) {
  // 4 bits: 2 * 7.5 / 15 = 1, so weights are their own integers; 7.5 rounds to 8 and is clamped
  // to 7.
  const Tensor w = matrix(1, 6, {-7.5f, 7.5f, 0.0f, 0.5f, 1.5f, -2.4f});
  const auto q = round_nearest(w, scheme_of(4, true, Granularity::kRow), DType::kF32);
  EXPECT_EQ(q.scales.data<float>()[0], 1.0f);
  EXPECT_FALSE(q.zero_points.defined());
  EXPECT_EQ(values_of(q), (std::vector<int>{-8, 7, 0, 0, 2, -2}));  // ties to even
}

TEST(RoundNearest, AsymmetricGridHoldsZeroAndBothEnds) {
  // 2 bits over [0, 3]: steps of 1, zero at the lowest integer.
  const auto positive = round_nearest(matrix(1, 4, {3.0f, 1.0f, 2.0f, 0.4f}),
                                      scheme_of(2, false, Granularity::kRow), DType::kF32);
  EXPECT_EQ(positive.scales.data<float>()[0], 1.0f);
  EXPECT_EQ(positive.zero_point(0, 0), -2);
  EXPECT_EQ(values_of(positive), (std::vector<int>{1, -1, 0, -2}));
  // All negative: the range is widened to zero, which lies at the highest integer.
  const auto negative = round_nearest(matrix(1, 3, {-3.0f, -1.0f, -2.0f}),
                                      scheme_of(2, false, Granularity::kRow), DType::kF32);
  EXPECT_EQ(negative.zero_point(0, 0), 1);
  EXPECT_EQ(values_of(negative), (std::vector<int>{-2, 0, -1}));
}

TEST(RoundNearest, EveryBitWidthGranularityAndOddShape) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const bool symmetric : {true, false}) {
      for (const auto& [rows, columns] : {std::pair{1, 1}, {3, 7}, {17, 33}, {5, 129}, {64, 256}}) {
        const Tensor w = random_matrix(rows, columns, 3);
        for (const WeightScheme& scheme : {scheme_of(bits, symmetric, Granularity::kTensor),
                                           scheme_of(bits, symmetric, Granularity::kRow),
                                           scheme_of(bits, symmetric, Granularity::kGroup, 8),
                                           scheme_of(bits, symmetric, Granularity::kGroup, 32)}) {
          const auto q = round_nearest(w, scheme, DType::kF32);
          validate(q, "w");
          expect_is_nearest(w, q);
          // Half a step at most, and at the ends of the grid the half step that symmetric scales
          // leave out, or the rounding of the zero point.
          const Tensor back = dequantize(q);
          for (std::int64_t i = 0; i < w.numel(); ++i) {
            const std::int64_t k = i % columns;
            const std::int64_t g =
                scheme.granularity == Granularity::kGroup ? k / scheme.group_size : 0;
            const float step = q.scale(i / columns, g);
            ASSERT_LE(std::abs(back.data<float>()[i] - w.data<float>()[i]),
                      step * (symmetric ? 0.5001f : 1.0001f));
          }
        }
      }
    }
  }
}

TEST(RoundNearest, ScalesAreExactInTheStoredType) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const bool symmetric : {true, false}) {
      const auto q = round_nearest(random_matrix(31, 96, 9),
                                   scheme_of(4, symmetric, Granularity::kGroup, 32), dtype);
      const Tensor stored = q.scales.to(dtype).to_f32();
      EXPECT_EQ(std::memcmp(stored.bytes(), q.scales.bytes(), stored.nbytes()), 0);
    }
  }
}

TEST(RoundNearest, ReadsEveryFloatType) {
  const Tensor w = random_matrix(9, 40, 4);
  const WeightScheme scheme = scheme_of(4, false, Granularity::kGroup, 8);
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const auto direct = round_nearest(w.to(dtype), scheme, dtype);
    const auto widened = round_nearest(w.to(dtype).to_f32(), scheme, dtype);
    EXPECT_EQ(values_of(direct), values_of(widened));
  }
}

TEST(RoundNearest, ZeroRowsAreZeroWithAScaleOfOne) {
  for (const bool symmetric : {true, false}) {
    const auto q = round_nearest(Tensor::zeros({2, 24}, DType::kF32),
                                 scheme_of(4, symmetric, Granularity::kGroup, 8), DType::kBF16);
    const Tensor back = dequantize(q);
    for (std::int64_t i = 0; i < back.numel(); ++i) EXPECT_EQ(back.data<float>()[i], 0.0f);
    for (std::int64_t i = 0; i < q.scales.numel(); ++i) EXPECT_EQ(q.scales.data<float>()[i], 1.0f);
  }
}

TEST(RoundNearest, ExtremeMagnitudesStayFinite) {
  const float largest = 0.9f * std::numeric_limits<float>::max();
  for (const bool symmetric : {true, false}) {
    const WeightScheme scheme = scheme_of(4, symmetric, Granularity::kRow);
    const auto large = round_nearest(matrix(1, 3, {largest, -largest, 1.0f}), scheme, DType::kF32);
    EXPECT_TRUE(std::isfinite(large.scale(0, 0)));
    const Tensor back = dequantize(large);
    EXPECT_NEAR(back.data<float>()[0] / largest, 1.0f, 0.1f);
    EXPECT_NEAR(back.data<float>()[1] / largest, -1.0f, 0.1f);
    // Subnormal weights of float16, whose scales are coarse: nothing is cut off.
    const auto tiny = round_nearest(matrix(1, 4, {0x1p-24f, -0x3p-24f, 0x1p-20f, 0}),
                                    scheme_of(8, symmetric, Granularity::kRow), DType::kF16);
    const Tensor tiny_back = dequantize(tiny);
    EXPECT_EQ(tiny_back.data<float>()[0], 0x1p-24f);
    EXPECT_EQ(tiny_back.data<float>()[1], -0x3p-24f);
    EXPECT_EQ(tiny_back.data<float>()[2], 0x1p-20f);
  }
}

// What each variant of the kernel gives is tested beside it; here, that matrices come and go whole.
TEST(RoundNearest, AGpuGivesTheSameBits) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  Stream& gpu = Stream::of({DeviceKind::kCuda, 0});
  for (const std::int64_t rows : {3, 4000}) {  // the latter goes through pinned memory
    for (const bool symmetric : {true, false}) {
      const Tensor w = random_matrix(rows, 1000, 8);
      const WeightScheme scheme = scheme_of(4, symmetric, Granularity::kGroup, 128);
      const auto expected = round_nearest(w, scheme, DType::kBF16);
      const auto found = round_nearest(gpu, w, scheme, DType::kBF16);
      validate(found, "w");
      EXPECT_TRUE(found.values.shape() == expected.values.shape());
      EXPECT_EQ(values_of(found), values_of(expected));
      EXPECT_EQ(std::memcmp(found.scales.bytes(), expected.scales.bytes(), found.scales.nbytes()),
                0);
      ASSERT_EQ(found.zero_points.defined(), !symmetric);
      if (symmetric) continue;
      EXPECT_EQ(std::memcmp(found.zero_points.bytes(), expected.zero_points.bytes(),
                            found.zero_points.nbytes()),
                0);
    }
  }
}

TEST(RoundNearest, ThreadsDoNotChangeTheResult) {
  const Tensor w = random_matrix(123, 77, 5);
  for (const Granularity granularity :
       {Granularity::kTensor, Granularity::kRow, Granularity::kGroup}) {
    const WeightScheme scheme =
        scheme_of(4, false, granularity, granularity == Granularity::kGroup ? 16 : 0);
    set_num_threads(1);
    const auto one = round_nearest(w, scheme, DType::kBF16);
    set_num_threads(7);
    const auto seven = round_nearest(w, scheme, DType::kBF16);
    set_num_threads(0);
    EXPECT_EQ(values_of(one), values_of(seven));
    EXPECT_EQ(std::memcmp(one.scales.bytes(), seven.scales.bytes(), one.scales.nbytes()), 0);
  }
}

}  // namespace
}  // namespace aquatint
