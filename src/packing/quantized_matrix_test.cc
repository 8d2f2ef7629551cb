#include "packing/quantized_matrix.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace aquatint {
namespace {

Tensor tensor_i8(Shape shape, const std::vector<int>& values) {
  Tensor t = Tensor::empty(shape, DType::kI8);
  for (std::size_t i = 0; i < values.size(); ++i) {
    t.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(values[i]);
  }
  return t;
}

Tensor tensor_f32(Shape shape, const std::vector<float>& values) {
  Tensor t = Tensor::empty(shape, DType::kF32);
  for (std::size_t i = 0; i < values.size(); ++i) t.mutable_data<float>()[i] = values[i];
  return t;
}

// Two rows of five columns in groups of two: the third group is short.
QuantizedMatrix grouped() {
  QuantizedMatrix m;
  m.scheme = {4, false, Granularity::kGroup, 2};
  m.values = tensor_i8({2, 5}, {-8, 7, 0, 1, 2, 3, -1, 4, 5, -6});
  m.scales = tensor_f32({2, 3}, {0.5f, 1.0f, 2.0f, 0.25f, 4.0f, 8.0f});
  m.zero_points = tensor_i8({2, 3}, {1, 0, -2, 3, -8, 7});
  return m;
}

TEST(QuantizedMatrix, DequantizesEachGroupWithItsScaleAndZeroPoint) {
  const Tensor w = dequantize(grouped());
  const std::vector<float> expected = {-4.5f, 3.0f,  0.0f,  1.0f,  8.0f,
                                       0.0f,  -1.0f, 48.0f, 52.0f, -104.0f};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(w.data<float>()[i], expected[i]);
}

TEST(QuantizedMatrix, OneScaleServesTheWholeTensor) {
  QuantizedMatrix m;
  m.scheme = {8, true, Granularity::kTensor, 0};
  m.values = tensor_i8({2, 2}, {-128, 127, 1, 0});
  m.scales = tensor_f32({1, 1}, {0.5f});
  validate(m, "w");
  const Tensor w = dequantize(m);
  EXPECT_EQ(w.data<float>()[0], -64.0f);
  EXPECT_EQ(w.data<float>()[1], 63.5f);
  EXPECT_EQ(w.data<float>()[2], 0.5f);
  EXPECT_EQ(m.scale(1, 0), 0.5f);
  EXPECT_EQ(m.zero_point(1, 0), 0);
}

void expect_error(const QuantizedMatrix& m, ErrorKind kind, const std::string& text) {
  try {
    validate(m, "proj");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("'proj'"), std::string::npos) << error.what();
  }
}

TEST(QuantizedMatrix, ValidateNamesWhatIsWrong) {
  validate(grouped(), "proj");

  QuantizedMatrix m = grouped();
  m.scales = tensor_f32({2, 2}, {1, 1, 1, 1});
  expect_error(m, ErrorKind::kCorrupt, "[2, 2]");

  m = grouped();
  m.zero_points = tensor_i8({3, 2}, {0, 0, 0, 0, 0, 0});
  expect_error(m, ErrorKind::kCorrupt, "[3, 2]");

  m = grouped();
  m.scales.mutable_data<float>()[4] = std::numeric_limits<float>::quiet_NaN();
  expect_error(m, ErrorKind::kNumeric, "scale 4");

  m = grouped();
  m.values.mutable_data<std::int8_t>()[3] = 8;
  expect_error(m, ErrorKind::kCorrupt, "value 8 at 3");
}

TEST(WeightScheme, CountsGroupsAndNamesItself) {
  EXPECT_EQ((WeightScheme{4, false, Granularity::kGroup, 128}.groups(257)), 3);
  EXPECT_EQ((WeightScheme{8, true, Granularity::kRow, 0}.groups(257)), 1);
  EXPECT_EQ((WeightScheme{4, false, Granularity::kGroup, 128}.str()), "W4 group 128 asymmetric");
  EXPECT_EQ((WeightScheme{8, true, Granularity::kRow, 0}.str()), "W8 row symmetric");
}

}  // namespace
}  // namespace aquatint
