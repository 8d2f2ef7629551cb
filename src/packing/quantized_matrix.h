// A quantized weight matrix in its plain form: one int8 per value, whatever the number of bits.
// Roundings produce it, files and kernel packings are made from it, and it defines what the packed
// bytes mean:
//   W[n, k] = (values[n, k] - zero_points[n, g]) * scales[n, g],   g = k / group_size.
#pragma once

#include <string>
#include <vector>

#include "packing/scheme.h"
#include "tensor/tensor.h"

namespace aquatint {

struct QuantizedMatrix {
  WeightScheme scheme;
  Tensor values;       // int8 [rows, columns], within [scheme.qmin(), scheme.qmax()]
  Tensor scales;       // float32 [rows, groups]; [1, 1] for Granularity::kTensor
  Tensor zero_points;  // int8, shape of scales; undefined when symmetric

  std::int64_t rows() const { return values.dim(0); }
  std::int64_t columns() const { return values.dim(1); }
  std::int64_t groups() const { return scheme.groups(columns()); }
  // Scale and zero point of row n, group g.
  float scale(std::int64_t n, std::int64_t g) const;
  int zero_point(std::int64_t n, std::int64_t g) const;
};

// The float32 matrix the integers stand for, [rows, columns].
Tensor dequantize(const QuantizedMatrix& matrix);
// The sum of each row of that matrix.
std::vector<double> row_sums(const QuantizedMatrix& matrix);
// Error kCorrupt if shapes or values contradict the scheme; `name` is what the message calls the
// matrix.
void validate(const QuantizedMatrix& matrix, const std::string& name);

}  // namespace aquatint
