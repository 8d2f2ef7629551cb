// The smallest and the largest value of each group over everything seen: a range that clips
// nothing. Exact, whatever the order.
#pragma once

#include "quantize/observer.h"

namespace aquatint {

std::unique_ptr<Observer> make_min_max(const ObserverOptions& options, const ColumnGroups& groups);

}  // namespace aquatint
