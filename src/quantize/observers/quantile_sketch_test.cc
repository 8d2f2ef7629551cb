#include "quantize/observers/quantile_sketch.h"

#include <algorithm>

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

double direct(std::vector<float> values, double share) {
  for (float& x : values) x = std::fabs(x);
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - std::floor(at)) * (static_cast<double>(values[high]) - values[low]);
}

void expect_within_its_error(const std::vector<float>& values, int bits) {
  QuantileSketch sketch(bits);
  for (const float x : values) sketch.add(x);
  ASSERT_EQ(sketch.count(), static_cast<std::int64_t>(values.size()));
  for (const double share : {0.0, 0.01, 0.3, 0.5, 0.75, 0.99, 0.9995, 0.99999, 1.0}) {
    const double exact = direct(values, share);
    const double unit = std::max(exact, 1.2e-38);
    // 2^-24: the result is rounded to float32.
    ASSERT_NEAR(sketch.quantile(share), exact, unit * (sketch.relative_error() + 0x1p-24)) << share;
  }
}

TEST(QuantileSketch, IsWithinItsErrorOnAnyFloats) {
  std::mt19937 generator(11);
  std::normal_distribution<float> normal;
  for (int run = 0; run < 60; ++run) {
    const std::size_t n = run < 5 ? static_cast<std::size_t>(run) + 1 : 1 + generator() % 3000;
    std::vector<float> values(n);
    for (float& x : values) {
      if (run % 3 == 0) {
        x = std::bit_cast<float>(static_cast<std::uint32_t>(generator()));
        if (!std::isfinite(x)) x = 0.0f;
      } else {
        x = std::exp(normal(generator) * (run % 3 == 1 ? 1.0f : 30.0f));
        if (!std::isfinite(x)) x = std::numeric_limits<float>::max();
      }
    }
    expect_within_its_error(values, run % 2 == 0 ? 12 : 7);
  }
}

TEST(QuantileSketch, IsExactAtTheEndsAndForConstants) {
  QuantileSketch sketch;
  for (int i = 0; i < 5; ++i) sketch.add(-1.2345f);
  for (const double share : {0.0, 0.4, 1.0}) EXPECT_EQ(sketch.quantile(share), 1.2345f);
  sketch.add(777.77f);
  sketch.add(0.0f);
  EXPECT_EQ(sketch.quantile(1.0), 777.77f);
  EXPECT_EQ(sketch.quantile(0.0), 0.0f);
  QuantileSketch zeros;
  for (int i = 0; i < 9; ++i) zeros.add(0.0f);
  EXPECT_EQ(zeros.quantile(0.9), 0.0f);
  zeros.add(std::numeric_limits<float>::max());
  EXPECT_EQ(zeros.quantile(1.0), std::numeric_limits<float>::max());
}

TEST(QuantileSketch, MergesInAnyOrderToTheSame) {
  const auto values = testing::random_batch(1, 5000, 2).values;
  QuantileSketch all, a, b;
  for (std::size_t i = 0; i < values.size(); ++i) {
    all.add(values[i]);
    (i % 3 == 0 ? a : b).add(values[i]);
  }
  QuantileSketch ab = a, ba = b;
  ab.merge(b);
  ba.merge(a);
  for (const double share : {0.0, 0.2, 0.9, 0.999, 1.0}) {
    EXPECT_EQ(ab.quantile(share), all.quantile(share));
    EXPECT_EQ(ba.quantile(share), all.quantile(share));
  }
}

TEST(QuantileSketch, IsCoarserWhenThereAreMany) {
  EXPECT_EQ(QuantileSketch::bits_for(1), 12);
  EXPECT_EQ(QuantileSketch::bits_for(16), 12);
  EXPECT_EQ(QuantileSketch::bits_for(17), 11);
  EXPECT_EQ(QuantileSketch::bits_for(1 << 20), 7);
}

}  // namespace
}  // namespace aquatint
