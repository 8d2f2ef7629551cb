#include "kernels/activation/activation_body.h"
#include "kernels/simd_int8_avx512.h"

namespace aquatint::kernels::detail {

const ActivationKernels kActivationAvx512 = ActivationBody<Vec, Int8Vec>::kKernels;

}  // namespace aquatint::kernels::detail
