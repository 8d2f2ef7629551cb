#include "quantize/observers/column_extremes.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "base/threads.h"
#include "quantize/observers/observer_base.h"

namespace aquatint {
namespace {

// Columns that are walked together down the rows: their extremes stay in the first-level cache.
constexpr std::int64_t kBlock = 2048;
constexpr std::int64_t kGrain = 128;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Not std::min: these keep no reference, and become single instructions.
float smaller(float a, float b) {
  return a < b ? a : b;
}
float larger(float a, float b) {
  return a > b ? a : b;
}

// Widens min and max of n columns by four rows; returns whether one of the values was NaN.
bool widen4(const float* x, std::int64_t stride, std::int64_t n, float* min, float* max) {
  const float *x0 = x, *x1 = x + stride, *x2 = x1 + stride, *x3 = x2 + stride;
  std::int32_t bad = 0;
  for (std::int64_t c = 0; c < n; ++c) {
    const float a = x0[c], b = x1[c], d = x2[c], e = x3[c];
    min[c] = smaller(smaller(smaller(a, b), smaller(d, e)), min[c]);
    max[c] = larger(larger(larger(a, b), larger(d, e)), max[c]);
    bad |= (std::isunordered(a, b) ? 1 : 0) | (std::isunordered(d, e) ? 1 : 0);
  }
  return bad != 0;
}

bool widen1(const float* x, std::int64_t n, float* min, float* max) {
  std::int32_t bad = 0;
  for (std::int64_t c = 0; c < n; ++c) {
    min[c] = smaller(x[c], min[c]);
    max[c] = larger(x[c], max[c]);
    bad |= std::isunordered(x[c], x[c]) ? 1 : 0;
  }
  return bad != 0;
}

// Whether n columns of some rows hold NaN or infinity; else min and max are widened by them.
bool widen(const float* x, std::int64_t rows, std::int64_t stride, std::int64_t n, float* min,
           float* max) {
  bool bad = false;
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) bad |= widen4(x + r * stride, stride, n, min, max);
  for (; r < rows; ++r) bad |= widen1(x + r * stride, n, min, max);
  for (std::int64_t c = 0; c < n; ++c) bad |= min[c] == -kInfinity || max[c] == kInfinity;
  return bad;
}

}  // namespace

ColumnExtremes::ColumnExtremes(std::int64_t columns)
    : min_(static_cast<std::size_t>(columns), kInfinity),
      max_(static_cast<std::size_t>(columns), -kInfinity) {}

void ColumnExtremes::add(const float* values, std::int64_t rows) {
  const auto columns = static_cast<std::int64_t>(min_.size());
  std::atomic<bool> bad = false;
  parallel_for(columns, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; c += kBlock) {
      const std::int64_t n = std::min(kBlock, end - c);
      if (widen(values + c, rows, columns, n, min_.data() + c, max_.data() + c)) bad = true;
    }
  });
  if (bad) raise_not_finite(values, rows, columns);
}

void ColumnExtremes::absorb(const ColumnExtremes& other) {
  for (std::size_t c = 0; c < min_.size(); ++c) {
    min_[c] = std::min(min_[c], other.min_[c]);
    max_[c] = std::max(max_[c], other.max_[c]);
  }
}

std::vector<Range> ColumnExtremes::ranges(const ColumnGroups& groups) const {
  std::vector<Range> ranges(static_cast<std::size_t>(groups.count), {kInfinity, -kInfinity});
  for (std::size_t c = 0; c < min_.size(); ++c) {
    Range& range = ranges[static_cast<std::size_t>(groups.group(static_cast<std::int64_t>(c)))];
    range = {std::min(range.min, min_[c]), std::max(range.max, max_[c])};
  }
  // Which of two equal zeros is kept depends on the order; their sum with 0 does not.
  for (Range& range : ranges) range = {range.min + 0.0f, range.max + 0.0f};
  return ranges;
}

std::vector<std::pair<std::string, Tensor>> range_tensors(const std::vector<Range>& ranges) {
  std::vector<float> min, max;
  for (const Range& range : ranges) {
    min.push_back(range.min);
    max.push_back(range.max);
  }
  return {{"min", tensor_of(min)}, {"max", tensor_of(max)}};
}

}  // namespace aquatint
