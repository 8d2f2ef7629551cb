#include "quantize/observers/observer_base.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <typeinfo>

#include "base/error.h"
#include "base/threads.h"

namespace aquatint {
namespace {

// Values looked at between two checks for the end, so that the inner loop is a plain reduction.
constexpr std::int64_t kFiniteGrain = std::int64_t{1} << 15;

bool all_finite(const float* values, std::int64_t n) {
  std::uint32_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    bad |= (bits & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
  }
  return bad == 0;
}

}  // namespace

void ObserverBase::set_columns(std::int64_t columns) {
  if (columns_ < 0) {
    AQUATINT_ASSERT(columns > 0);
    AQUATINT_ASSERT(groups_.of_column.empty() ||
                    groups_.of_column.size() == static_cast<std::size_t>(columns));
    columns_ = columns;
    start();
  }
  AQUATINT_ASSERT(columns == columns_);
}

void ObserverBase::observe(const float* values, std::int64_t rows, std::int64_t columns) {
  if (rows == 0) return;
  set_columns(columns);
  add(values, rows);
  rows_ += rows;
}

void ObserverBase::merge(const Observer& later) {
  AQUATINT_ASSERT(typeid(later) == typeid(*this) && &later != this);
  const auto& other = static_cast<const ObserverBase&>(later);
  AQUATINT_ASSERT(other.groups_ == groups_);
  if (other.rows_ == 0) return;
  set_columns(other.columns_);
  absorb(other);
  rows_ += other.rows_;
}

Tensor tensor_of(std::span<const float> values) {
  const Tensor t = Tensor::empty({static_cast<std::int64_t>(values.size())}, DType::kF32);
  std::copy(values.begin(), values.end(), t.mutable_data<float>());
  return t;
}

Tensor tensor_of(std::span<const float> values, std::int64_t rows) {
  return tensor_of(values).reshape({rows, static_cast<std::int64_t>(values.size()) / rows});
}

void require_finite(const float* values, std::int64_t rows, std::int64_t columns) {
  std::atomic<bool> bad = false;
  parallel_for(rows * columns, kFiniteGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end && !bad; i += kFiniteGrain) {
      if (!all_finite(values + i, std::min(kFiniteGrain, end - i))) bad = true;
    }
  });
  if (bad) raise_not_finite(values, rows, columns);
}

void raise_not_finite(const float* values, std::int64_t rows, std::int64_t columns) {
  const float* const end = values + rows * columns;
  const float* const first = std::find_if(values, end, [](float x) { return !std::isfinite(x); });
  AQUATINT_ASSERT(first != end);
  raise(ErrorKind::kNumeric, "row {}, column {} of the observed values is {}, not a finite number",
        (first - values) / columns, (first - values) % columns,
        std::isnan(*first) ? "NaN"
        : *first > 0       ? "infinite"
                           : "-infinite");
}

}  // namespace aquatint
