// The range [-q, q], where q is a quantile of the magnitudes over everything seen: Quamba's
// clipping of the scan's input, without its dependence on the order of the batches. Approximate: q
// is within 2^-12 of the exact quantile, relative, for up to 16 groups (quantile_sketch.h).
#pragma once

#include "quantize/observer.h"

namespace aquatint {

std::unique_ptr<Observer> make_percentile(const ObserverOptions& options,
                                          const ColumnGroups& groups);

}  // namespace aquatint
