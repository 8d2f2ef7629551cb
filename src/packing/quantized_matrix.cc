#include "packing/quantized_matrix.h"

#include <cmath>

#include "base/threads.h"

namespace aquatint {
namespace {

std::int64_t scale_index(const QuantizedMatrix& m, std::int64_t n, std::int64_t g) {
  return m.scheme.granularity == Granularity::kTensor ? 0 : n * m.groups() + g;
}

}  // namespace

float QuantizedMatrix::scale(std::int64_t n, std::int64_t g) const {
  return scales.data<float>()[scale_index(*this, n, g)];
}

int QuantizedMatrix::zero_point(std::int64_t n, std::int64_t g) const {
  return zero_points.defined() ? zero_points.data<std::int8_t>()[scale_index(*this, n, g)] : 0;
}

Tensor dequantize(const QuantizedMatrix& matrix) {
  const std::int64_t columns = matrix.columns();
  const std::int64_t group =
      matrix.scheme.granularity == Granularity::kGroup ? matrix.scheme.group_size : columns;
  Tensor out = Tensor::empty(matrix.values.shape(), DType::kF32);
  const auto* values = matrix.values.data<std::int8_t>();
  auto* dst = out.mutable_data<float>();
  parallel_for(matrix.rows(), 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      for (std::int64_t k = 0; k < columns; ++k) {
        const std::int64_t g = k / group;
        const int centred = values[n * columns + k] - matrix.zero_point(n, g);
        dst[n * columns + k] = static_cast<float>(centred) * matrix.scale(n, g);
      }
    }
  });
  return out;
}

std::vector<double> row_sums(const QuantizedMatrix& matrix) {
  const std::int64_t columns = matrix.columns(), groups = matrix.groups();
  const std::int64_t group =
      matrix.scheme.granularity == Granularity::kGroup ? matrix.scheme.group_size : columns;
  std::vector<double> sums(static_cast<std::size_t>(matrix.rows()));
  const auto* values = matrix.values.data<std::int8_t>();
  parallel_for(matrix.rows(), 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      double sum = 0;
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t first = g * group, last = std::min(columns, first + group);
        std::int64_t integers = -(last - first) * matrix.zero_point(n, g);
        for (std::int64_t k = first; k < last; ++k) integers += values[n * columns + k];
        sum += static_cast<double>(integers) * static_cast<double>(matrix.scale(n, g));
      }
      sums[static_cast<std::size_t>(n)] = sum;
    }
  });
  return sums;
}

void validate(const QuantizedMatrix& matrix, const std::string& name) {
  const bool tensor_wide = matrix.scheme.granularity == Granularity::kTensor;
  const Shape expected = tensor_wide ? Shape{1, 1} : Shape{matrix.rows(), matrix.groups()};
  if (!(matrix.scales.shape() == expected)) {
    raise(ErrorKind::kCorrupt, "'{}': scales of shape {}, expected {} for {}", name,
          matrix.scales.shape().str(), expected.str(), matrix.scheme.str());
  }
  if (matrix.zero_points.defined() && !(matrix.zero_points.shape() == expected)) {
    raise(ErrorKind::kCorrupt, "'{}': zero points of shape {}, expected {}", name,
          matrix.zero_points.shape().str(), expected.str());
  }
  const auto* scales = matrix.scales.data<float>();
  for (std::int64_t i = 0; i < matrix.scales.numel(); ++i) {
    if (!std::isfinite(scales[i])) {
      raise(ErrorKind::kNumeric, "'{}': scale {} is {}", name, i, scales[i]);
    }
  }
  const auto* values = matrix.values.data<std::int8_t>();
  for (std::int64_t i = 0; i < matrix.values.numel(); ++i) {
    if (values[i] < matrix.scheme.qmin() || values[i] > matrix.scheme.qmax()) {
      raise(ErrorKind::kCorrupt, "'{}': value {} at {} is outside [{}, {}]", name, values[i], i,
            matrix.scheme.qmin(), matrix.scheme.qmax());
    }
  }
}

}  // namespace aquatint
