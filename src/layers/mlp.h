// Feed-forward networks: gated, down(act(gate x) ⊙ up x), and plain, down(act(up x)).
#pragma once

#include <variant>

#include "layers/linear.h"

namespace aquatint {

struct GatedMlp {
  Linear gate, up, down;
  kernels::Activation activation = kernels::Activation::kSilu;

  // y: [rows, hidden], added to.
  void forward(ForwardContext& context, LinearInput& x, float* y) const;
  std::size_t nbytes() const { return gate.nbytes() + up.nbytes() + down.nbytes(); }
};

// On the CPU only.
struct PlainMlp {
  Linear up, down;
  kernels::Activation activation = kernels::Activation::kGeluTanh;

  // y: [rows, hidden], added to.
  void forward(ForwardContext& context, LinearInput& x, float* y) const;
  std::size_t nbytes() const { return up.nbytes() + down.nbytes(); }
};

using Mlp = std::variant<GatedMlp, PlainMlp>;

}  // namespace aquatint
