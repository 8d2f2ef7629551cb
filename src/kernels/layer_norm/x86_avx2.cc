#include "kernels/layer_norm/layer_norm_body.h"
#include "kernels/simd_int8_avx2.h"

namespace aquatint::kernels::detail {

const LayerNormKernels kLayerNormAvx2 = LayerNormBody<Vec, Int8Vec>::kKernels;

}  // namespace aquatint::kernels::detail
