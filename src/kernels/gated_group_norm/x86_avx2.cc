#include "kernels/gated_group_norm/gated_group_norm_body.h"
#include "kernels/simd_avx2.h"

namespace aquatint::kernels {

void gated_group_norm_avx2(const GatedGroupNormArgs& args, int64_t begin, int64_t end) noexcept {
  gated_group_norm_body<Vec>(args, begin, end);
}

}  // namespace aquatint::kernels
