#include "quantize/roundings/nearest.h"

#include "kernels/round_nearest/round_nearest.h"

namespace aquatint {

QuantizedMatrix round_nearest(const Tensor& weight, const WeightScheme& scheme, DType scale_dtype) {
  return round_nearest(Stream::cpu(), weight, scheme, scale_dtype);
}

QuantizedMatrix round_nearest(Stream& stream, const Tensor& weight, const WeightScheme& scheme,
                              DType scale_dtype) {
  const Device device = stream.device();
  const std::int64_t rows = weight.dim(0), columns = weight.dim(1);
  const bool per_tensor = scheme.granularity == Granularity::kTensor;
  const Shape scale_shape = per_tensor ? Shape{1, 1} : Shape{rows, scheme.groups(columns)};
  const Tensor source = weight.on(stream);
  const Tensor values = Tensor::empty({rows, columns}, DType::kI8, device);
  const Tensor scales = Tensor::empty(scale_shape, DType::kF32, device);
  Tensor zero_points;
  if (!scheme.symmetric) zero_points = Tensor::empty(scale_shape, DType::kI8, device);

  kernels::RoundNearestTask task;
  task.weights = source.bytes();
  task.dtype = source.dtype();
  task.rows = rows;
  task.columns = columns;
  task.scheme = scheme;
  task.scale_dtype = scale_dtype;
  task.values = values.mutable_data<std::int8_t>();
  task.scales = scales.mutable_data<float>();
  if (!scheme.symmetric) task.zero_points = zero_points.mutable_data<std::int8_t>();
  kernels::round_nearest(stream, task);

  Stream& host = Stream::cpu();
  return {scheme, values.on(host), scales.on(host), zero_points.on(host)};
}

}  // namespace aquatint
