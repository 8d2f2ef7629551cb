#include "kernels/rms_norm/rms_norm_body.h"
#include "kernels/simd_int8_avx2.h"

namespace aquatint::kernels::detail {

const RmsNormKernels kRmsNormAvx2 = RmsNormBody<Vec, Int8Vec>::kKernels;

}  // namespace aquatint::kernels::detail
