// The variants of rms_norm this processor can run, slowest first, for dispatch, tests and
// benchmarks.
#pragma once

#include <vector>

#include "base/cpu_features.h"
#include "kernels/rms_norm/rms_norm_internal.h"

namespace aquatint::kernels::detail {

struct RmsNormVariant {
  Isa isa;
  const RmsNormKernels* kernels;
};

std::vector<RmsNormVariant> rms_norm_variants();

}  // namespace aquatint::kernels::detail
