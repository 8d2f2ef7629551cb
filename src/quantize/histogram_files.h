// Histograms of taps as files: for NumPy, and (histogram_plots.h) for the eye. They show why a
// range was chosen, and which taps will be hard to quantize.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "quantize/observer.h"

namespace aquatint {

struct TapHistogram {
  std::string name;           // of the tap, and "[3]" where it is one of several groups
  std::vector<float> counts;  // [bins]
  std::vector<float> edges;   // [bins + 1], increasing
  Range seen;                 // the smallest and the largest value
  Range chosen;               // what integers will span

  double total() const;
  // The fourth central moment over the square of the second, from the middles of the bins: 3 for a
  // normal distribution, more with outliers; 0 for a constant.
  double kurtosis() const;
  // Share of the values outside the chosen range, if they are spread evenly in their bins.
  double clipped() const;
};

// One for each group of an observer of the kind "histogram" that has seen rows. Error
// kInvalidArgument for other observers.
std::vector<TapHistogram> tap_histograms(const std::string& tap, const Observer& observer);

// Writes an .npz for numpy.load: "names" [taps], and for the i-th of them r{i}_counts [bins],
// r{i}_edges [bins + 1], the scalars r{i}_min and r{i}_max, and r{i}_chosen [2], the range that
// integers will span. Appears complete or not at all. Error kIo.
void write_histograms_npz(const std::filesystem::path& path,
                          const std::vector<TapHistogram>& histograms);

}  // namespace aquatint
