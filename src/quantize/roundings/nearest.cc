#include "quantize/roundings/nearest.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"

namespace aquatint {
namespace {

struct Range {
  float min = 0, max = 0;  // contains zero

  void include(const float* w, std::int64_t n) {
    float lo = min, hi = max;
    for (std::int64_t i = 0; i < n; ++i) {
      lo = w[i] < lo ? w[i] : lo;
      hi = w[i] > hi ? w[i] : hi;
    }
    min = lo;
    max = hi;
  }
};

struct Grid {
  float scale = 1;
  int zero_point = 0;
};

// The nearest value that `dtype` can hold.
float representable(float value, DType dtype) {
  if (dtype == DType::kBF16) return bf16_to_f32(f32_to_bf16(value));
  if (dtype == DType::kF16) return f16_to_f32(f32_to_f16(value));
  return value;
}

// Scales below this are not worth having: a group of zeros gets scale 1 (its integers are all zero).
constexpr float kSmallestScale = 1e-30f;

Grid grid_for(const Range& range, const WeightScheme& scheme, DType scale_dtype) {
  const auto steps = static_cast<float>((1 << scheme.bits) - 1);
  Grid grid;
  const float width = scheme.symmetric ? 2.0f * std::max(-range.min, range.max)
                                       : range.max - range.min;
  grid.scale = representable(width / steps, scale_dtype);
  if (!(grid.scale > kSmallestScale)) grid.scale = 1.0f;
  if (!scheme.symmetric) {
    const float zero = static_cast<float>(scheme.qmin()) - range.min / grid.scale;
    grid.zero_point = static_cast<int>(
        std::clamp(std::nearbyint(zero), static_cast<float>(scheme.qmin()),
                   static_cast<float>(scheme.qmax())));
  }
  return grid;
}

void quantize_values(const float* w, std::int64_t n, const Grid& grid, const WeightScheme& scheme,
                     std::int8_t* q) {
  const auto lo = static_cast<float>(scheme.qmin()), hi = static_cast<float>(scheme.qmax());
  const auto zero = static_cast<float>(grid.zero_point);
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = std::nearbyint(w[i] / grid.scale) + zero;
    q[i] = static_cast<std::int8_t>(std::min(std::max(value, lo), hi));
  }
}

}  // namespace

QuantizedMatrix round_nearest(const Tensor& weight, const WeightScheme& scheme,
                              DType scale_dtype) {
  const std::int64_t rows = weight.dim(0), columns = weight.dim(1);
  const bool per_tensor = scheme.granularity == Granularity::kTensor;
  const bool grouped = scheme.granularity == Granularity::kGroup;
  const std::int64_t group = grouped ? scheme.group_size : columns;
  const std::int64_t groups = scheme.groups(columns);
  const float* w = weight.data<float>();

  QuantizedMatrix result;
  result.scheme = scheme;
  result.values = Tensor::empty({rows, columns}, DType::kI8);
  const Shape scale_shape = per_tensor ? Shape{1, 1} : Shape{rows, groups};
  result.scales = Tensor::empty(scale_shape, DType::kF32);
  if (!scheme.symmetric) result.zero_points = Tensor::zeros(scale_shape, DType::kI8);
  auto* values = result.values.mutable_data<std::int8_t>();
  auto* scales = result.scales.mutable_data<float>();
  auto* zeros = scheme.symmetric ? nullptr : result.zero_points.mutable_data<std::int8_t>();

  Grid whole;
  if (per_tensor) {
    Range range;
    range.include(w, rows * columns);
    whole = grid_for(range, scheme, scale_dtype);
    scales[0] = whole.scale;
    if (zeros != nullptr) zeros[0] = static_cast<std::int8_t>(whole.zero_point);
  }
  parallel_for(rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t first = g * group, length = std::min(group, columns - first);
        const float* at = w + n * columns + first;
        Grid grid = whole;
        if (!per_tensor) {
          Range range;
          range.include(at, length);
          grid = grid_for(range, scheme, scale_dtype);
          scales[n * groups + g] = grid.scale;
          if (zeros != nullptr) {
            zeros[n * groups + g] = static_cast<std::int8_t>(grid.zero_point);
          }
        }
        quantize_values(at, length, grid, scheme, values + n * columns + first);
      }
    }
  });
  return result;
}

}  // namespace aquatint
