#include "kernels/gated_norm/gated_norm_body.h"
#include "kernels/simd_avx2.h"

namespace aquatint::kernels {

void gated_norm_avx2(const GatedNormArgs& args, int64_t begin, int64_t end) noexcept {
  gated_norm_body<Vec>(args, begin, end);
}

}  // namespace aquatint::kernels
