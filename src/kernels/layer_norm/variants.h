// The variants of layer_norm this processor can run, slowest first, for dispatch, tests and
// benchmarks.
#pragma once

#include <vector>

#include "base/cpu_features.h"
#include "kernels/layer_norm/layer_norm_internal.h"

namespace aquatint::kernels::detail {

struct LayerNormVariant {
  Isa isa;
  const LayerNormKernels* kernels;
};

std::vector<LayerNormVariant> layer_norm_variants();

}  // namespace aquatint::kernels::detail
