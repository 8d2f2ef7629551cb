#include <cmath>

#include "kernels/gated_group_norm/gated_group_norm_args.h"

namespace aquatint::kernels {
namespace {

double silu(float gate) noexcept {
  return static_cast<double>(gate) / (1.0 + std::exp(-static_cast<double>(gate)));
}

void group(const GatedGroupNormArgs& args, const float* x, const float* gate, const float* w,
           float* y) noexcept {
  const bool gate_first = args.order == GateOrder::kGateFirst;
  double scale = 1;
  if (args.order != GateOrder::kGateOnly) {
    double squares = 0;
    for (int64_t j = 0; j < args.size; ++j) {
      const double v = static_cast<double>(x[j]) * (gate_first ? silu(gate[j]) : 1.0);
      squares += v * v;
    }
    scale =
        1.0 / std::sqrt(squares / static_cast<double>(args.size) + static_cast<double>(args.eps));
  }
  for (int64_t j = 0; j < args.size; ++j) {
    double v = static_cast<double>(x[j]) * silu(gate[j]) * scale;
    if (args.order != GateOrder::kGateOnly) v *= static_cast<double>(w[j]);
    y[j] = static_cast<float>(v);
  }
}

}  // namespace

void gated_group_norm_reference(const GatedGroupNormArgs& args, int64_t begin,
                                int64_t end) noexcept {
  const int64_t columns = args.groups * args.size;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t g = 0; g < args.groups; ++g) {
      const int64_t at = g * args.size;
      group(args, args.x + row * columns + at, args.gate + row * args.ld_gate + at,
            args.w != nullptr ? args.w + at : nullptr, args.y + row * columns + at);
    }
  }
}

}  // namespace aquatint::kernels
