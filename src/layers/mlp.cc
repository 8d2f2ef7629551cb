#include "layers/mlp.h"

namespace aquatint {

void GatedMlp::forward(ForwardContext& context, LinearInput& x, float* y) const {
  const kernels::ProductView g = gate.forward_view(context, x);
  const kernels::ProductView u = up.forward_view(context, x);
  LinearInput product = LinearInput::gated(context, activation, g, u, x.rows(), gate.outputs());
  down.forward_add(context, product, y);
}

}  // namespace aquatint
