#include <bit>
#include <cmath>
#include <vector>

#include "kernels/round_nearest/round_nearest_internal.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kLanes = 16;  // independent running minima, so that loops run in vectors

WeightRange range_of(const float* w, std::int64_t n) {
  float lo[kLanes] = {}, hi[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      const float value = w[i + j];
      lo[j] = value < lo[j] ? value : lo[j];
      hi[j] = value > hi[j] ? value : hi[j];
    }
  }
  WeightRange range;
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

Grid grid_for(const WeightRange& range, const WeightScheme& scheme, DType scale_dtype) {
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
  explicit RowReader(const RoundNearestTask& task)
      : task_(task), buffer_(static_cast<std::size_t>(task.columns)) {}

  const float* row(std::int64_t n) {
    const auto offset = static_cast<std::size_t>(n * task_.columns) * dtype_size(task_.dtype);
    convert_to_f32(task_.dtype, static_cast<const std::byte*>(task_.weights) + offset,
                   buffer_.size(), buffer_.data());
    return buffer_.data();
  }

 private:
  const RoundNearestTask& task_;
  std::vector<float> buffer_;
};

}  // namespace

WeightRange range_of_rows(const RoundNearestTask& task, std::int64_t begin, std::int64_t end) {
  WeightRange range;
  RowReader reader(task);
  for (std::int64_t n = begin; n < end; ++n) range.include(range_of(reader.row(n), task.columns));
  return range;
}

void round_rows(const RoundNearestTask& task, const WeightRange* whole, std::int64_t begin,
                std::int64_t end) {
  const WeightScheme& scheme = task.scheme;
  const std::int64_t columns = task.columns, groups = scheme.groups(columns);
  const std::int64_t group =
      scheme.granularity == Granularity::kGroup ? scheme.group_size : columns;
  const auto note = [&](std::int64_t index, const Grid& grid) {
    task.scales[index] = grid.scale;
    if (task.zero_points != nullptr) {
      task.zero_points[index] = static_cast<std::int8_t>(grid.zero_point);
    }
  };
  Grid grid;
  if (whole != nullptr) grid = grid_for(*whole, scheme, task.scale_dtype);
  if (whole != nullptr && begin == 0) note(0, grid);
  RowReader reader(task);
  for (std::int64_t n = begin; n < end; ++n) {
    const float* row = reader.row(n);
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t first = g * group, length = std::min(group, columns - first);
      if (whole == nullptr) {
        grid = grid_for(range_of(row + first, length), scheme, task.scale_dtype);
        note(n * groups + g, grid);
      }
      quantize_values(row + first, length, grid, scheme, task.values + n * columns + first);
    }
  }
}

}  // namespace aquatint::kernels
