#include "quantize/observers/linear_bins.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace aquatint {
namespace {

constexpr int kParts = 16;           // HistogramObserver.upsample_rate
constexpr double kStep = 1e-5;       // of the values, per move
constexpr std::size_t kSteps = 256;  // of 8-bit integers

double width_of(const LinearBins& bins) {
  return (static_cast<double>(bins.range.max) - bins.range.min) /
         static_cast<double>(bins.counts.size());
}

// Calls body(middle, weight) for each part of each bin that is not empty.
template <typename Body>
void for_parts(const LinearBins& bins, const Body& body) {
  const double part = width_of(bins) / kParts;
  for (std::size_t i = 0; i < bins.counts.size(); ++i) {
    if (bins.counts[i] == 0.0) continue;
    for (int k = 0; k < kParts; ++k) {
      const double at = static_cast<double>(i) * kParts + k + 0.5;
      body(bins.range.min + at * part, bins.counts[i] / kParts);
    }
  }
}

// Integral of x^2 from a to b.
double squares(double a, double b) {
  return (b * b * b - a * a * a) / 3.0;
}

// Squared error when the bins [first, last] are cut into `steps` equal steps and values beyond them
// go to the outermost, if values are spread evenly in their bins.
double quantization_error(const std::vector<double>& counts, double width, std::size_t first,
                          std::size_t last, std::size_t steps) {
  const double step = width * static_cast<double>(last - first + 1) / static_cast<double>(steps);
  if (step == 0.0) return 0.0;
  const double top = static_cast<double>(steps) - 1.0;
  double error = 0.0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0.0) continue;
    const double begin = (static_cast<double>(i) - static_cast<double>(first)) * width;
    const double end = begin + width;
    const double from = std::clamp(std::floor(begin / step), 0.0, top);
    const double to = std::clamp(std::floor(end / step), 0.0, top);
    const double whole = to - from - 1.0;  // -1: begin and end lie in one step
    error += counts[i] / width *
             (squares(begin - (from + 0.5) * step, step / 2) +
              whole * squares(-step / 2, step / 2) + squares(-step / 2, end - (to + 0.5) * step));
  }
  return error;
}

struct Bounds {
  std::size_t first, last;
};

// HistogramObserver._non_linear_param_search; with `lower` false the first bin stays.
Bounds narrow(const std::vector<double>& counts, double width, std::size_t steps, bool lower) {
  std::vector<double> cumulative(counts.size());
  std::partial_sum(counts.begin(), counts.end(), cumulative.begin());
  const double total = cumulative.back();
  Bounds now{0, counts.size() - 1};
  double least = std::numeric_limits<double>::infinity();
  for (double alpha = 0.0, beta = 1.0; alpha < beta;) {
    std::size_t l = now.first, r = now.last;
    while (lower && l < now.last && cumulative[l] < (alpha + kStep) * total) ++l;
    while (r > now.first && cumulative[r] > (beta - kStep) * total) --r;
    Bounds next = now;
    if (l - now.first > now.last - r) {
      next.first = l;
      alpha += kStep;
    } else {
      next.last = r;
      beta -= kStep;
    }
    if (next.first == now.first && next.last == now.last) continue;
    const double error = quantization_error(counts, width, next.first, next.last, steps);
    if (error > least) break;
    least = error;
    now = next;
  }
  return now;
}

}  // namespace

std::size_t LinearBins::bin_of(double value) const {
  const double span = static_cast<double>(range.max) - range.min;
  if (span == 0.0) return counts.size() / 2;
  const double at = (value - range.min) / span * static_cast<double>(counts.size());
  return std::min(static_cast<std::size_t>(std::max(at, 0.0)), counts.size() - 1);
}

std::vector<float> LinearBins::edges() const {
  const double margin = range.min == range.max
                            ? std::max(0.5, 1e-3 * std::fabs(static_cast<double>(range.max)))
                            : 0.0;
  const double min = range.min - margin, max = range.max + margin;
  const auto bins = static_cast<double>(counts.size());
  std::vector<float> edges;
  for (std::size_t i = 0; i <= counts.size(); ++i) {
    const double share = static_cast<double>(i) / bins;
    edges.push_back(static_cast<float>(min * (1.0 - share) + max * share));
  }
  return edges;
}

void LinearBins::add(const LinearBins& other) {
  AQUATINT_ASSERT(other.counts.size() == counts.size());
  AQUATINT_ASSERT(range.min <= other.range.min && range.max >= other.range.max);
  if (range == other.range) {
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
  } else {
    for_parts(other, [&](double middle, double weight) { counts[bin_of(middle)] += weight; });
  }
}

Range united(const Range& a, const Range& b) {
  return {std::min(a.min, b.min), std::max(a.max, b.max)};
}

Range clipped_range(const LinearBins& bins, bool symmetric) {
  if (!symmetric) {
    const double width = width_of(bins);
    if (width == 0.0) return bins.range;
    const Bounds found = narrow(bins.counts, width, kSteps, true);
    return {static_cast<float>(bins.range.min + width * static_cast<double>(found.first)),
            static_cast<float>(bins.range.min + width * static_cast<double>(found.last + 1))};
  }
  const float largest = std::max(-bins.range.min, bins.range.max);
  if (width_of(bins) == 0.0) return {0.0f - largest, largest};
  LinearBins magnitudes{{0.0f, largest}, std::vector<double>(bins.counts.size())};
  for_parts(bins, [&](double middle, double weight) {
    magnitudes.counts[magnitudes.bin_of(std::fabs(middle))] += weight;
  });
  const double width = width_of(magnitudes);
  const Bounds found = narrow(magnitudes.counts, width, kSteps / 2, false);
  const auto end = static_cast<float>(width * static_cast<double>(found.last + 1));
  return {-end, end};
}

}  // namespace aquatint
