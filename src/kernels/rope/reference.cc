#include <cmath>

#include "kernels/rope/rope_args.h"

namespace aquatint::kernels {

void rope_reference(const RopeArgs& args, int64_t begin, int64_t end) noexcept {
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t i = 0; i < args.half; ++i) {
      // Rounded to float32 before the sine: what models trained with float32 angles saw.
      const float angle = static_cast<float>(args.positions[row]) * args.inv_freq[i];
      const double c = std::cos(static_cast<double>(angle));
      const double s = std::sin(static_cast<double>(angle));
      for (int64_t head = 0; head < args.heads; ++head) {
        float* x = args.x + (row * args.heads + head) * 2 * args.half;
        const double u = x[i];
        const double v = x[i + args.half];
        x[i] = static_cast<float>(u * c - v * s);
        x[i + args.half] = static_cast<float>(v * c + u * s);
      }
    }
  }
}

}  // namespace aquatint::kernels
