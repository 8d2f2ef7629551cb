// The page of a folder of plots: taps ranked by kurtosis and by the share of values clipped, then
// every picture. It needs nothing but the pictures beside it.
#pragma once

#include <string>
#include <vector>

#include "quantize/histogram_files.h"

namespace aquatint {

// "0.012 %", "0 %".
std::string percent(double share);

// "3.2", "21514".
std::string kurtosis_text(double kurtosis);

// HTML; pictures[i] is the file with the picture of histograms[i], in the same folder.
std::string histogram_page(const std::vector<TapHistogram>& histograms,
                           const std::vector<std::string>& pictures);

}  // namespace aquatint
