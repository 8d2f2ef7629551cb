#include <cmath>

#include "kernels/gated_norm/gated_norm_args.h"

namespace aquatint::kernels {

void gated_norm_reference(const GatedNormArgs& args, int64_t begin, int64_t end) noexcept {
  for (int64_t vector = begin; vector < end; ++vector) {
    const int64_t at = vector * args.dv;
    double squares = 0;
    for (int64_t j = 0; j < args.dv; ++j) {
      const double o = args.o[at + j];
      squares += o * o;
    }
    const double inverse =
        1.0 / std::sqrt(squares / static_cast<double>(args.dv) + static_cast<double>(args.eps));
    for (int64_t j = 0; j < args.dv; ++j) {
      double y = args.o[at + j] * inverse;
      if (args.w != nullptr) y *= args.w[j];
      if (args.gate != nullptr) {
        const double gate = args.gate[at + j];
        y *= gate / (1.0 + std::exp(-gate));
      }
      args.y[at + j] = static_cast<float>(y);
    }
  }
}

}  // namespace aquatint::kernels
