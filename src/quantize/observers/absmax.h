// The largest magnitude of each group over everything seen. With each channel a group of its own it
// is what SmoothQuant balances against the weights; its range is symmetric. Exact, whatever the
// order.
#pragma once

#include "quantize/observer.h"

namespace aquatint {

std::unique_ptr<Observer> make_absmax(const ObserverOptions& options, const ColumnGroups& groups);

}  // namespace aquatint
