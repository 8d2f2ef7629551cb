#include "quantize/planned_tensor.h"

#include "quantize/rounding.h"

namespace aquatint {

Tensor planned_source(const WeightSource& weights, const TensorPlan& plan) {
  const TensorSpec& spec = *plan.spec;
  if (spec.role == Role::kHead && weights.head_is_tied()) {
    return std::get<Tensor>(weights.linear(spec.module()).weight);
  }
  return weights.tensor(spec.name);
}

QuantizedMatrix round_planned(const WeightSource& weights, const TensorPlan& plan, Stream& stream) {
  AQUATINT_ASSERT(plan.scheme.has_value());
  return find_rounding(plan.rounding)
      .round(planned_source(weights, plan), plan.scheme->weights, plan.dtype, stream);
}

}  // namespace aquatint
