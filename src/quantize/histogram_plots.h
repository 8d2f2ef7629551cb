// Pictures of histograms and a page that ranks their taps, for a browser. gnuplot draws them; it is
// needed only here and only at run time.
#pragma once

#include <filesystem>
#include <vector>

#include "quantize/histogram_files.h"

namespace aquatint {

// To be called before work that ends in plots: error kNotFound without gnuplot in $PATH,
// kInvalidArgument where `folder` is a file or holds something.
void check_histogram_plots(const std::filesystem::path& folder);

// Writes `folder`: one PNG for each histogram, counts on a logarithmic axis and the chosen range
// marked, and index.html, which ranks the taps by kurtosis and by the share of values clipped. The
// folder appears complete or not at all; its parents are made. Errors of check_histogram_plots;
// kIo.
void write_histogram_plots(const std::filesystem::path& folder,
                           const std::vector<TapHistogram>& histograms);

}  // namespace aquatint
