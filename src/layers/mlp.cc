#include "layers/mlp.h"

namespace aquatint {

void GatedMlp::forward(ForwardContext& context, LinearInput& x, float* y) const {
  const std::int64_t rows = x.rows(), inner = gate.outputs();
  float* g = context.workspace.take<float>(rows * inner);
  float* u = context.workspace.take<float>(rows * inner);
  gate.forward(context, x, g);
  up.forward(context, x, u);
  LinearInput product = LinearInput::gated(context, activation, g, u, rows, inner);
  down.forward_add(context, product, y);
}

}  // namespace aquatint
