// One tensor of a plan, on its way from float weights to what is stored.
#pragma once

#include "quantize/plan.h"

namespace aquatint {

// The float tensor a plan is about: the embedding table for a head that is tied to it.
Tensor planned_source(const WeightSource& weights, const TensorPlan& plan);

// Its integers, as the plan's rounding chooses them. REQUIRES a scheme.
QuantizedMatrix round_planned(const WeightSource& weights, const TensorPlan& plan, Stream& stream);

}  // namespace aquatint
