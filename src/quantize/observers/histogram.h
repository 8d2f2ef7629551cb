// A histogram of each group's values and the range that makes the squared error of 8-bit integers
// small: PyTorch's HistogramObserver (linear_bins.h). When a batch widens the range, what was
// counted before moves to the new bins, 1/16 of an old bin at a time, so a count may lie one bin
// beside its own and the result depends a little on how rows are cut into batches. Extremes and
// totals are exact.
#pragma once

#include "quantize/observer.h"

namespace aquatint {

std::unique_ptr<Observer> make_histogram(const ObserverOptions& options,
                                         const ColumnGroups& groups);

}  // namespace aquatint
