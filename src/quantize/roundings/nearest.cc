#include "quantize/roundings/nearest.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/threads.h"

namespace aquatint {
namespace {

constexpr std::int64_t kLanes = 16;  // independent running minima, so that loops run in vectors

struct Range {
  float min = 0, max = 0;  // contains zero

  void include(const Range& other) {
    min = std::min(min, other.min);
    max = std::max(max, other.max);
  }
};

Range range_of(const float* w, std::int64_t n) {
  float lo[kLanes] = {}, hi[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      const float value = w[i + j];
      lo[j] = value < lo[j] ? value : lo[j];
      hi[j] = value > hi[j] ? value : hi[j];
    }
  }
  Range range;
  for (std::int64_t j = 0; j < kLanes; ++j) range.include({lo[j], hi[j]});
  for (; i < n; ++i) range.include({std::min(w[i], 0.0f), std::max(w[i], 0.0f)});
  return range;
}

struct Grid {
  float scale = 1;
  int zero_point = 0;
};

// The value that `dtype` can hold nearest to a scale. Below the normal numbers of float16 steps are
// coarse and rounding down could lose half the range, so there it is rounded up.
float representable(double scale, DType dtype) {
  const auto value = static_cast<float>(scale);
  if (dtype == DType::kBF16) return bf16_to_f32(f32_to_bf16(value));
  if (dtype != DType::kF16) return value;
  constexpr float kSmallestNormal = 0x1p-14f, kStep = 0x1p-24f;
  if (value < kSmallestNormal) return std::ceil(value / kStep) * kStep;
  return f16_to_f32(f32_to_f16(value));
}

// Scales below this are not worth having: a group of zeros gets scale 1 (its integers are all
// zero).
constexpr float kSmallestScale = 1e-30f;

Grid grid_for(const Range& range, const WeightScheme& scheme, DType scale_dtype) {
  // In double precision, where the width of a range of large float32 numbers does not overflow.
  const double low = range.min, high = range.max;
  const double width = scheme.symmetric ? 2.0 * std::max(-low, high) : high - low;
  Grid grid;
  grid.scale = representable(width / ((1 << scheme.bits) - 1), scale_dtype);
  if (!(grid.scale > kSmallestScale)) grid.scale = 1.0f;
  if (!scheme.symmetric) {
    const double zero = scheme.qmin() - low / static_cast<double>(grid.scale);
    grid.zero_point =
        static_cast<int>(std::clamp(std::nearbyint(zero), static_cast<double>(scheme.qmin()),
                                    static_cast<double>(scheme.qmax())));
  }
  return grid;
}

void quantize_values(const float* w, std::int64_t n, const Grid& grid, const WeightScheme& scheme,
                     std::int8_t* q) {
  // Adding 1.5 * 2^23 to a number below 2^22 rounds it to the nearest integer, ties to even, and
  // leaves that integer in the low bits: the one way to round that every x86 does in vectors.
  constexpr float kRounder = 12582912.0f;
  const int offset = grid.zero_point - std::bit_cast<std::int32_t>(kRounder);
  const auto lo = static_cast<float>(scheme.qmin() - grid.zero_point);
  const auto hi = static_cast<float>(scheme.qmax() - grid.zero_point);
  for (std::int64_t i = 0; i < n; ++i) {
    float value = w[i] / grid.scale;
    value = value < lo ? lo : value;
    value = value > hi ? hi : value;
    q[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(value + kRounder) + offset);
  }
}

// Float32 rows of a weight of any float type, one at a time: a copy of the whole would cost more
// time than rounding it.
class RowReader {
 public:
  explicit RowReader(const Tensor& weight)
      : weight_(weight), columns_(weight.dim(1)), buffer_(static_cast<std::size_t>(columns_)) {}

  const float* row(std::int64_t n) {
    const auto offset = static_cast<std::size_t>(n * columns_) * dtype_size(weight_.dtype());
    convert_to_f32(weight_.dtype(), weight_.bytes() + offset, buffer_.size(), buffer_.data());
    return buffer_.data();
  }

 private:
  const Tensor& weight_;
  std::int64_t columns_;
  std::vector<float> buffer_;
};

constexpr std::int64_t kRowGrain = 8;

Range range_of_tensor(const Tensor& weight) {
  const std::int64_t rows = weight.dim(0), columns = weight.dim(1);
  std::vector<Range> ranges(static_cast<std::size_t>(rows));
  parallel_for(rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    RowReader reader(weight);
    for (std::int64_t n = begin; n < end; ++n) {
      ranges[static_cast<std::size_t>(n)] = range_of(reader.row(n), columns);
    }
  });
  Range range;
  for (const Range& of_row : ranges) range.include(of_row);
  return range;
}

}  // namespace

QuantizedMatrix round_nearest(const Tensor& weight, const WeightScheme& scheme, DType scale_dtype) {
  const std::int64_t rows = weight.dim(0), columns = weight.dim(1);
  const bool per_tensor = scheme.granularity == Granularity::kTensor;
  const bool grouped = scheme.granularity == Granularity::kGroup;
  const std::int64_t group = grouped ? scheme.group_size : columns;
  const std::int64_t groups = scheme.groups(columns);

  QuantizedMatrix result;
  result.scheme = scheme;
  result.values = Tensor::empty({rows, columns}, DType::kI8);
  const Shape scale_shape = per_tensor ? Shape{1, 1} : Shape{rows, groups};
  result.scales = Tensor::empty(scale_shape, DType::kF32);
  if (!scheme.symmetric) result.zero_points = Tensor::zeros(scale_shape, DType::kI8);
  auto* values = result.values.mutable_data<std::int8_t>();
  auto* scales = result.scales.mutable_data<float>();
  auto* zeros = scheme.symmetric ? nullptr : result.zero_points.mutable_data<std::int8_t>();
  const auto note = [&](std::int64_t index, const Grid& grid) {
    scales[index] = grid.scale;
    if (zeros != nullptr) zeros[index] = static_cast<std::int8_t>(grid.zero_point);
  };

  Grid whole;
  if (per_tensor) {
    whole = grid_for(range_of_tensor(weight), scheme, scale_dtype);
    note(0, whole);
  }
  parallel_for(rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    RowReader reader(weight);
    for (std::int64_t n = begin; n < end; ++n) {
      const float* row = reader.row(n);
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t first = g * group, length = std::min(group, columns - first);
        Grid grid = whole;
        if (!per_tensor) {
          grid = grid_for(range_of(row + first, length), scheme, scale_dtype);
          note(n * groups + g, grid);
        }
        quantize_values(row + first, length, grid, scheme, values + n * columns + first);
      }
    }
  });
  return result;
}

}  // namespace aquatint
