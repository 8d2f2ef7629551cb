// The implementations of conv1d_causal.h by instruction set, for dispatch and for tests that
// compare them.
#pragma once

#include <vector>

#include "base/cpu_features.h"
#include "kernels/conv1d_causal/conv1d_causal.h"
#include "kernels/conv1d_causal/conv1d_causal_args.h"

namespace aquatint::kernels {

struct ConvVariant {
  Isa isa;
  void (*run)(const ConvArgs& args, const ConvTile& tile) noexcept;
};

// Slowest first; the first one is the reference. Those above detected_isa() must not be run.
const std::vector<ConvVariant>& conv1d_causal_variants();

// conv1d_causal() with a chosen variant.
void conv1d_causal_with(const ConvVariant& variant, const float* x, std::int64_t ldx,
                        std::int64_t channels, std::int64_t kernel, const float* w,
                        const float* bias, bool silu, const ConvSequence* sequences,
                        std::int64_t count, float* y);

}  // namespace aquatint::kernels
