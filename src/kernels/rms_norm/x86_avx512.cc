#include "kernels/rms_norm/rms_norm_body.h"
#include "kernels/simd_int8_avx512.h"

namespace aquatint::kernels::detail {

const RmsNormKernels kRmsNormAvx512 = RmsNormBody<Vec, Int8Vec>::kKernels;

}  // namespace aquatint::kernels::detail
