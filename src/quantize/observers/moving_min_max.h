// Exponential moving averages of the smallest and the largest value of each batch, so that one odd
// batch does not decide: the first batch sets them, then min += averaging (min of the batch - min),
// likewise max. PyTorch's MovingAverageMinMaxObserver, but kept in float64.
#pragma once

#include "quantize/observer.h"

namespace aquatint {

std::unique_ptr<Observer> make_moving_min_max(const ObserverOptions& options,
                                              const ColumnGroups& groups);

}  // namespace aquatint
