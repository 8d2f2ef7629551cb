// What the tests of packings share: matrices to pack, and tensors to compare.
#pragma once

#include <gtest/gtest.h>

#include <random>

#include "packing/quantized_matrix.h"

namespace aquatint::testing {

// Integers of the whole range, scales between 0.01 and 1, and zero points when asymmetric.
inline QuantizedMatrix random_matrix(const WeightScheme& scheme, std::int64_t rows,
                                     std::int64_t columns) {
  std::mt19937 random(static_cast<unsigned>(rows * 1000 + columns));
  QuantizedMatrix m;
  m.scheme = scheme;
  m.values = Tensor::empty({rows, columns}, DType::kI8);
  std::uniform_int_distribution<int> integer(scheme.qmin(), scheme.qmax());
  auto* values = m.values.mutable_data<std::int8_t>();
  for (std::int64_t i = 0; i < m.values.numel(); ++i) {
    values[i] = static_cast<std::int8_t>(integer(random));
  }
  const bool tensor_wide = scheme.granularity == Granularity::kTensor;
  const Shape shape = tensor_wide ? Shape{1, 1} : Shape{rows, m.groups()};
  m.scales = Tensor::empty(shape, DType::kF32);
  std::uniform_real_distribution<float> real(0.01f, 1.0f);
  for (std::int64_t i = 0; i < m.scales.numel(); ++i) {
    m.scales.mutable_data<float>()[i] = real(random);
  }
  if (!scheme.symmetric) {
    m.zero_points = Tensor::empty(shape, DType::kI8);
    for (std::int64_t i = 0; i < m.scales.numel(); ++i) {
      m.zero_points.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(integer(random));
    }
  }
  return m;
}

// float32 tensors of the same shape and values.
inline void expect_equal(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    ASSERT_EQ(a.data<float>()[i], b.data<float>()[i]) << "element " << i;
  }
}

}  // namespace aquatint::testing
