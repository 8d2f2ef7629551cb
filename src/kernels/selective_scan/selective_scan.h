// The selective scan of Mamba (Gu and Dao 2023, arXiv:2312.00752): a diagonal recurrence per
// channel whose step sizes, inputs and outputs depend on the token, with softplus, skip and gate
// fused. One kernel because the state must stay in registers over many tokens and the decays,
// sixteen of them per channel and token, must never be written anywhere.
// docs/kernels/selective_scan.md has the derivation, the costs and the measurements.
#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu_features.h"

namespace aquatint::kernels {

// Rows of an array may lie further apart than they are wide: ld values from one to the next.
struct ScanInputs {
  std::int64_t channels = 0;
  std::int64_t states = 0;   // per channel
  const float* x = nullptr;  // [rows, channels], rows ldx apart
  std::int64_t ldx = 0;
  const float* dt = nullptr;  // [rows, channels] without gaps, before softplus
  const float* b = nullptr;   // [rows, states], rows ldbc apart
  const float* c = nullptr;   // as b
  std::int64_t ldbc = 0;
  const float* z = nullptr;  // [rows, channels], rows ldz apart: the gate; null for none
  std::int64_t ldz = 0;
  const float* rates = nullptr;  // [states, channels]: A / ln 2, not above 0
  const float* skip = nullptr;   // [channels]: D
};

// One independent sequence: its rows, and its state [states, channels], which is updated in place.
struct ScanSequence {
  std::int64_t first_row = 0;
  std::int64_t tokens = 0;
  float* state = nullptr;
};

// For each channel, with delta = softplus(dt): S_n = 2^(delta rate_n) S_n + delta B_n x for every
// n, then y = (sum over n of C_n S_n + D x) * silu(z). y: [rows, channels], may be dt. Sequences of
// one call must not share rows or states. Threaded over channels; results do not depend on the
// number of threads. Error kInvalidArgument for sizes that are not positive, rows that overlap, or
// a sequence without a state.
void selective_scan(const ScanInputs& inputs, const ScanSequence* sequences, std::int64_t count,
                    float* y, Isa isa = active_isa());

// The instruction sets that have a variant of their own here and run on this machine, lowest first.
std::vector<Isa> selective_scan_isas();

}  // namespace aquatint::kernels
