#include "layers/mlp.h"

namespace aquatint {

void GatedMlp::forward(ForwardContext& context, LinearInput& x, float* y) const {
  const auto inner = Linear::forward_shared(context, x, {{&gate, nullptr}, {&up, nullptr}});
  LinearInput product =
      LinearInput::gated(context, activation, inner[0], inner[1], x.rows(), gate.outputs());
  down.forward_add(context, product, y);
}

void PlainMlp::forward(ForwardContext& context, LinearInput& x, float* y) const {
  const kernels::ProductView inner = up.forward_view(context, x);
  LinearInput product = LinearInput::activated(context, activation, inner, x.rows(), up.outputs());
  down.forward_add(context, product, y);
}

}  // namespace aquatint
