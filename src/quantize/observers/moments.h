// Mean and second moment, E[x] and E[x^2], of each group over everything seen, summed in float64
// down the rows of each column: the salience of AWQ and the mean that greedy rounding corrects by.
// Cutting the rows into other batches changes nothing; merging differs by rounding of float64.
#pragma once

#include "quantize/observer.h"

namespace aquatint {

std::unique_ptr<Observer> make_moments(const ObserverOptions& options, const ColumnGroups& groups);

}  // namespace aquatint
