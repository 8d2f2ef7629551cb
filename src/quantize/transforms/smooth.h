// SmoothQuant (arXiv 2211.10438): divides each channel of what feeds a group of projections by a
// factor and multiplies their columns by it, so that channels with outliers cost the activations'
// integers less. The factor is folded into what makes the channel: the weights of a norm or, if the
// options say so, the rows of another projection. docs/methods/smooth.md.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "quantize/transform.h"

namespace aquatint {

// "absmax" of each channel of the tap of each group that can be folded.
std::vector<TapRequest> smooth_requests(const Architecture& architecture,
                                        const WeightSource& source,
                                        const TransformOptions& options);

// A TransformedSource. Reads every weight of the groups once.
std::unique_ptr<WeightSource> apply_smooth(const Architecture& architecture,
                                           const WeightSource& source,
                                           std::span<const std::unique_ptr<Observer>> observers,
                                           const TransformOptions& options);

// s = inputs^alpha / weights^(1 - alpha), both floored at 1e-5; 1 where either is 0. The largest
// magnitudes of a channel in what feeds the group and in its columns of all weights of the group.
float smooth_factor(float inputs, float weights, double alpha);

}  // namespace aquatint
