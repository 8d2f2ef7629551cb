// The exact 8-bit fallbacks this processor can run, slowest first, for dispatch and for tests.
#pragma once

#include <vector>

#include "base/cpu_features.h"
#include "kernels/matmul/matmul_internal.h"

namespace aquatint::kernels::detail {

struct U8S8Variant {
  Isa isa;
  U8S8Function function;
};

std::vector<U8S8Variant> u8s8_variants();

}  // namespace aquatint::kernels::detail
