// The variants of activation this processor can run, slowest first, for dispatch, tests and
// benchmarks.
#pragma once

#include <vector>

#include "base/cpu_features.h"
#include "kernels/activation/activation_internal.h"

namespace aquatint::kernels::detail {

struct ActivationVariant {
  Isa isa;
  const ActivationKernels* kernels;
};

std::vector<ActivationVariant> activation_variants();

}  // namespace aquatint::kernels::detail
