// Internal to kernels/ssd: what one thread is asked to do, and the variants that can do it. Plain
// data and declarations only, because files compiled for a higher instruction set include it.
#pragma once

#include <stdint.h>

namespace aquatint::kernels::ssd {

// Heads of one group that a chunk is done for together: they share its products of C and B, and
// their states (512 KiB of 64 x 128) stay in the second-level cache.
constexpr int64_t kHeadsAtOnce = 16;

// Heads [head_begin, head_end) of one sequence; pointers are to its first row, and to all heads.
struct Task {
  int64_t tokens;
  int64_t head_begin, head_end;
  int64_t heads;
  int64_t heads_per_group;
  int64_t head_dim;
  int64_t states;
  const float* x;
  const float* b;
  const float* c;
  int64_t ld;
  const float* dt;
  int64_t ld_dt;
  const float* dt_bias;
  const float* rates;
  const float* skip;
  bool skip_per_channel;
  float dt_low;
  float dt_high;
  float* y;      // [tokens, heads * head_dim]
  float* state;  // [heads, states, head_dim]
};

// `scratch` is 64-byte aligned and at least as large as the form's scratch function says, in bytes.
struct Form {
  void (*run)(const Task& task, void* scratch) noexcept;
  int64_t (*scratch_bytes)(const Task& task) noexcept;
};

struct Variant {
  Form recurrent;
  Form chunked;
  int64_t chunked_from;  // tokens from which the chunked form is the faster one
};

extern const Variant kReference;
extern const Variant kAvx2;
extern const Variant kAvx512;
extern const Form kAvx512Bf16Chunked;  // SsdArithmetic::kBFloat16

}  // namespace aquatint::kernels::ssd
