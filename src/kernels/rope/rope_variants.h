// The implementations of rope.h by instruction set, for dispatch and for tests that compare them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu_features.h"
#include "kernels/rope/rope_args.h"

namespace aquatint::kernels {

using RopeFn = void (*)(const RopeArgs& args, std::int64_t begin, std::int64_t end) noexcept;

struct RopeVariant {
  Isa isa;
  RopeFn run;  // rotates rows [begin, end)
};

// Slowest first; the first one is the reference. Those above detected_isa() must not be run.
const std::vector<RopeVariant>& rope_variants();

}  // namespace aquatint::kernels
