// The implementations of gated_norm.h by instruction set, for dispatch and for tests that compare
// them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu_features.h"
#include "kernels/gated_norm/gated_norm_args.h"

namespace aquatint::kernels {

using GatedNormFn = void (*)(const GatedNormArgs& args, std::int64_t begin,
                             std::int64_t end) noexcept;

struct GatedNormVariant {
  Isa isa;
  GatedNormFn run;  // normalizes vectors [begin, end) of rows * heads
};

// Slowest first; the first one is the reference. Those above detected_isa() must not be run.
const std::vector<GatedNormVariant>& gated_norm_variants();

}  // namespace aquatint::kernels
