// The recurrence of Mamba-2 (Dao and Gu 2024, arXiv:2405.21060, "state space duality"): per head, S
// = decay S + B (delta x)^T and y = S^T C + D x, with one decay per head and token. Token by token
// for decoding, and in chunks made of matrix products for prefill. It is one kernel because the
// state must stay in cache, and the decays exact, between those products; no library has it.
// docs/kernels/ssd.md has the derivation, the costs and the measurements.
#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu_features.h"

namespace aquatint::kernels {

// Head h uses B and C of group h / (heads / groups).
struct SsdShape {
  std::int64_t heads = 0;
  std::int64_t groups = 0;
  std::int64_t head_dim = 0;
  std::int64_t states = 0;
};

struct SsdInputs {
  const float* x = nullptr;  // [rows, heads * head_dim], rows ld apart
  const float* b = nullptr;  // [rows, groups * states], rows ld apart
  const float* c = nullptr;  // as b
  std::int64_t ld = 0;
  const float* dt = nullptr;  // [rows, heads], rows ld_dt apart, before its bias and softplus
  std::int64_t ld_dt = 0;
  const float* dt_bias = nullptr;  // [heads]
  const float* rates = nullptr;    // [heads]: A / ln 2, not above 0
  const float* skip = nullptr;     // D: [heads], or [heads * head_dim]
  bool skip_per_channel = false;
  float dt_low = 0.0F, dt_high = 0.0F;  // limits of delta; dt_high may be infinite
};

// One independent sequence: its rows, and its state [heads, states, head_dim], which is updated in
// place. Sequences of one call must not share rows or states.
struct SsdSequence {
  std::int64_t first_row = 0;
  std::int64_t tokens = 0;
  float* state = nullptr;
};

// What the two products with the state are made of, 15 of 16 multiply-adds of the chunked form: its
// sums, decays and state are float32 in any case. kBFloat16 rounds their operands, where the
// processor has instructions for that.
enum class SsdArithmetic { kFloat32, kBFloat16 };

// For each head, with delta = clamp(softplus(dt + dt_bias), dt_low, dt_high): S[n, p] = 2^(delta
// rate) S[n, p] + B[n] delta x[p], then y[p] = sum over n of C[n] S[n, p] + D x[p]. y: [rows, heads
// * head_dim]. Runs every sequence with the form that is faster for its length. Threaded over
// heads; results do not depend on the number of threads. Error kInvalidArgument for sizes that are
// not positive, groups not dividing heads, rows that overlap, or a sequence without a state.
void ssd_forward(SsdArithmetic arithmetic, const SsdShape& shape, const SsdInputs& inputs,
                 const SsdSequence* sequences, std::int64_t count, float* y);

// The same function, always token by token, on the best variant not above `isa`.
void ssd_recurrent(const SsdShape& shape, const SsdInputs& inputs, const SsdSequence* sequences,
                   std::int64_t count, float* y, Isa isa = active_isa());

// The same function, always in chunks, on the best variant not above `isa`.
void ssd_chunked(SsdArithmetic arithmetic, const SsdShape& shape, const SsdInputs& inputs,
                 const SsdSequence* sequences, std::int64_t count, float* y,
                 Isa isa = active_isa());

// The instruction sets that have a variant of their own here and run on this machine, lowest first.
std::vector<Isa> ssd_isas();

}  // namespace aquatint::kernels
