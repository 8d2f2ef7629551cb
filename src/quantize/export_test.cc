#include "quantize/export.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "quantize/test_support.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

using testing::expect_error;

Tensor floats(const std::vector<float>& values) {
  const Tensor tensor = Tensor::empty(Shape{static_cast<std::int64_t>(values.size())}, DType::kF32);
  std::copy(values.begin(), values.end(), tensor.mutable_data<float>());
  return tensor;
}

std::vector<float> values_of(const Tensor& tensor) {
  const Tensor f32 = tensor.to_f32();
  return {f32.data<float>(), f32.data<float>() + f32.numel()};
}

TEST(ConvertChecked, RoundsToNearest) {
  const std::vector<float> values = {0.0f, -0.0f, 1.0f, 1.0f / 3.0f, -65504.0f, 1e-30f};
  EXPECT_EQ(values_of(convert_checked(floats(values), DType::kF32, "x", nullptr)), values);
  EXPECT_EQ(values_of(convert_checked(floats(values), DType::kF16, "x", nullptr)),
            (std::vector<float>{0.0f, -0.0f, 1.0f, 0.333251953125f, -65504.0f, 0.0f}));
  EXPECT_EQ(values_of(convert_checked(floats(values), DType::kBF16, "x", nullptr))[3],
            0.333984375f);
}

// The limit is exact: 65519.996 rounds to the largest value, 65520 would to infinity.
TEST(ConvertChecked, WhatDoesNotFitIsAnErrorOrClamped) {
  const float below = std::nextafter(65520.0f, 0.0f);
  EXPECT_EQ(values_of(convert_checked(floats({below}), DType::kF16, "x", nullptr))[0], 65504.0f);
  expect_error(ErrorKind::kNumeric, "tensor 'the.name': 2 of its values", [] {
    convert_checked(floats({1.0f, 65520.0f, -1e6f}), DType::kF16, "the.name", nullptr);
  });
  std::int64_t clamped = 5;
  EXPECT_EQ(values_of(convert_checked(floats({1.0f, 65520.0f, -1e6f}), DType::kF16, "x", &clamped)),
            (std::vector<float>{1.0f, 65504.0f, -65504.0f}));
  EXPECT_EQ(clamped, 7);
  const float largest = std::numeric_limits<float>::max();
  const float bf16_largest = bf16_to_f32(0x7f7f);
  EXPECT_EQ(values_of(convert_checked(floats({bf16_largest}), DType::kBF16, "x", nullptr))[0],
            bf16_largest);
  expect_error(ErrorKind::kNumeric, "bfloat16",
               [&] { convert_checked(floats({largest}), DType::kBF16, "x", nullptr); });
  EXPECT_TRUE(std::isinf(bf16_to_f32(f32_to_bf16(largest))));
}

TEST(ConvertChecked, LargeTensorsInParts) {
  std::vector<float> values(100'003);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 2048) - 1024;
  EXPECT_EQ(values_of(convert_checked(floats(values), DType::kF16, "x", nullptr)), values);
}

// GPT-2's files hold matrices transposed, the square ones too: so does a copy.
TEST(Export, TransposedTensorsStayTransposed) {
  const auto folder = testing::source_dir() / "tests/golden/gpt2/plain";
  const testing::TempFolder temp;
  ExportOptions options;
  options.output = temp.path() / "copy";
  options.dtype = DType::kBF16;
  const Checkpoint original = Checkpoint::open(folder);
  export_model(original, options);
  const Checkpoint copy = Checkpoint::open(options.output);
  for (const TensorSpec& spec : original.architecture().tensors()) {
    if (spec.tied) continue;
    EXPECT_EQ(values_of(copy.tensor(spec.name)), values_of(original.tensor(spec.name)))
        << spec.name;
  }
}

}  // namespace
}  // namespace aquatint
