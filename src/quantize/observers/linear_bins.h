// Counts of values in equal bins over a range, what to do when the range must grow, and the range
// of 256 steps that represents such counts best: PyTorch's HistogramObserver (2.3 and later) taken
// apart, in float64.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "quantize/observer.h"

namespace aquatint {

struct LinearBins {
  Range range;                 // the smallest and the largest value seen
  std::vector<double> counts;  // multiples of 1/16 once a range has grown

  // The bin of a value in the range, the last one for its end, the middle one if the range is a
  // single value.
  std::size_t bin_of(double value) const;
  // counts.size() + 1 of them. A single value is given a range of 1/2, or 1/1000 of it,
  // to both sides.
  std::vector<float> edges() const;
  // Adds `other`, whose range lies inside this one: exact if the ranges are the same, else its bins
  // are cut into 16 parts and each goes where its middle lies.
  void add(const LinearBins& other);
};

// The smallest range that holds both.
Range united(const Range& a, const Range& b);

// Where to clip so that the squared error of 256 equal steps falls: both ends move inwards, each
// time by the fewest values (1e-5 of all), at the end where that gains more bins, until the error
// rises. If `symmetric`, the counts of magnitudes are treated so instead, with 128 steps and the
// lower end held at 0, and the range is [-max, max].
Range clipped_range(const LinearBins& bins, bool symmetric);

}  // namespace aquatint
