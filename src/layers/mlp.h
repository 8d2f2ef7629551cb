// The gated feed-forward network: down(act(gate x) ⊙ up x).
#pragma once

#include "layers/linear.h"

namespace aquatint {

struct GatedMlp {
  Linear gate, up, down;
  kernels::Activation activation = kernels::Activation::kSilu;

  // y: [rows, hidden], added to.
  void forward(ForwardContext& context, LinearInput& x, float* y) const;
  std::size_t nbytes() const { return gate.nbytes() + up.nbytes() + down.nbytes(); }
};

}  // namespace aquatint
