// How the largest magnitude varies from token to token: the mean, the maximum and quantiles of the
// per-row absmax. Where the maximum is many times the median, a static scale wastes its integers on
// few tokens and a scale per token does not. Quantiles are within 2^-12, relative
// (quantile_sketch.h); maximum and mean are exact, the mean but for rounding of float64.
#pragma once

#include "quantize/observer.h"

namespace aquatint {

// REQUIRES: one group.
std::unique_ptr<Observer> make_token_absmax(const ObserverOptions& options,
                                            const ColumnGroups& groups);

}  // namespace aquatint
