// What Mamba-2 does to the output of its recurrence before the output projection: a swish gate and
// a root-mean-square norm over groups of channels, in either order. Fused because all arrays are
// large and the arithmetic is small. GLA's norm is kernels/gated_norm: there heads share their
// weights.
#pragma once

#include <cstdint>

#include "kernels/gated_group_norm/gated_group_norm_args.h"

namespace aquatint::kernels {

// Over `groups` groups of `size` channels in each row, with t = x silu(gate) and
// rms(v) = w v / sqrt(mean over the group of v^2 + eps): y = rms(t) for kGateFirst,
// y = rms(x) silu(gate) for kNormFirst, y = t for kGateOnly, where w and eps are not looked at. x
// and y are [rows, groups * size], w is [groups * size], rows of gate lie ld_gate apart; y may be
// x. Error kInvalidArgument for impossible sizes or a missing array.
void gated_group_norm(GateOrder order, const float* x, const float* gate, std::int64_t ld_gate,
                      const float* w, std::int64_t rows, std::int64_t groups, std::int64_t size,
                      float eps, float* y);

}  // namespace aquatint::kernels
