// The implementations of gated_group_norm.h by instruction set, for dispatch and for tests that
// compare them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu_features.h"
#include "kernels/gated_group_norm/gated_group_norm_args.h"

namespace aquatint::kernels {

using GatedGroupNormFn = void (*)(const GatedGroupNormArgs& args, std::int64_t begin,
                                  std::int64_t end) noexcept;

struct GatedGroupNormVariant {
  Isa isa;
  GatedGroupNormFn run;
};

// Slowest first; the first one is the reference. Those above detected_isa() must not be run.
const std::vector<GatedGroupNormVariant>& gated_group_norm_variants();

}  // namespace aquatint::kernels
