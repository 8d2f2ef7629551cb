// Summaries of one number per token.
#pragma once

#include <span>

namespace aquatint {

struct MeanAndError {
  double mean = 0;
  double error =
      0;  // standard error of the mean, the values taken as independent; 0 for fewer than two
};

MeanAndError mean_and_error(std::span<const double> values);

// The value below which `fraction` of ascending values lie, linear between the two nearest ranks as
// numpy.percentile. REQUIRES at least one value.
double sorted_percentile(std::span<const double> ascending, double fraction);

}  // namespace aquatint
