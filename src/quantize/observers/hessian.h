// The sum over rows of x x^T, [columns, columns] in float32: what GPTQ calls the Hessian, before
// its factor 2 / rows. Rows are multiplied in blocks of a fixed size whose products are added in
// order, so neither threads nor the cutting into batches change a bit; merging differs by rounding
// of float32. Each of its sums is off by some 2^-24 (sqrt(1024) + blocks) of the sum of magnitudes
// at most.
#pragma once

#include "quantize/observer.h"

namespace aquatint {

// REQUIRES: one group.
std::unique_ptr<Observer> make_hessian(const ObserverOptions& options, const ColumnGroups& groups);

}  // namespace aquatint
