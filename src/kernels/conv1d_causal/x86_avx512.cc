#include "kernels/conv1d_causal/conv1d_causal_body.h"
#include "kernels/simd_avx512.h"

namespace aquatint::kernels {

void conv1d_causal_avx512(const ConvArgs& args, const ConvTile& tile) noexcept {
  conv1d_causal_body<Vec>(args, tile);
}

}  // namespace aquatint::kernels
