#include <cmath>

#include "kernels/conv1d_causal/conv1d_causal_args.h"

namespace aquatint::kernels {

void conv1d_causal_reference(const ConvArgs& args, const ConvTile& tile) noexcept {
  const int64_t before = args.kernel - 1;
  for (int64_t t = tile.token_begin; t < tile.token_end; ++t) {
    for (int64_t c = tile.channel_begin; c < tile.channel_end; ++c) {
      double sum = args.bias != nullptr ? static_cast<double>(args.bias[c]) : 0.0;
      for (int64_t j = 0; j < args.kernel; ++j) {
        const int64_t i = t - before + j;  // negative: in the window
        const float* row = i < 0 ? args.window + (i + before) * args.channels  //
                                 : args.x + i * args.ldx;
        sum += static_cast<double>(args.w[c * args.kernel + j]) * static_cast<double>(row[c]);
      }
      if (args.silu) sum /= 1.0 + std::exp(-sum);
      args.y[t * args.channels + c] = static_cast<float>(sum);
    }
  }
}

}  // namespace aquatint::kernels
