#include "kernels/activation/activation_body.h"
#include "kernels/simd_int8_avx2.h"

namespace aquatint::kernels::detail {

const ActivationKernels kActivationAvx2 = ActivationBody<Vec, Int8Vec>::kKernels;

}  // namespace aquatint::kernels::detail
