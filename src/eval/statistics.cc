#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/error.h"

namespace aquatint {

MeanAndError mean_and_error(std::span<const double> values) {
  MeanAndError result;
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  result.mean = sum / n;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.error = std::sqrt(squares / (n - 1) / n);
  return result;
}

double sorted_percentile(std::span<const double> ascending, double fraction) {
  AQUATINT_ASSERT(!ascending.empty());
  const double position = fraction * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, ascending.size() - 1);
  const double part = position - static_cast<double>(below);
  return ascending[below] + part * (ascending[above] - ascending[below]);
}

}  // namespace aquatint
