// The variants of embedding this processor can run, slowest first, for dispatch, tests and
// benchmarks.
#pragma once

#include <vector>

#include "base/cpu_features.h"
#include "kernels/embedding/embedding_internal.h"

namespace aquatint::kernels::detail {

struct EmbeddingVariant {
  Isa isa;
  const EmbeddingKernels* kernels;
};

std::vector<EmbeddingVariant> embedding_variants();

}  // namespace aquatint::kernels::detail
