// The range [-w, w], where w is a moving average over batches of the exact quantile of each batch's
// magnitudes: the first batch sets it, then w += averaging (q - w). Quamba's
// PerTensorPercentileObserver, kept in float64.
#pragma once

#include "quantize/observer.h"

namespace aquatint {

std::unique_ptr<Observer> make_moving_percentile(const ObserverOptions& options,
                                                 const ColumnGroups& groups);

}  // namespace aquatint
