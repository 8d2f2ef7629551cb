// Internal to kernels/selective_scan: what one call of a variant works on. Plain data only, because
// files compiled for a higher instruction set include it.
#pragma once

#include <stdint.h>

namespace aquatint::kernels::scan {

// Channels handed to threads begin at multiples of this, so that every variant computes a channel
// in the same way however the work is divided.
constexpr int64_t kChannelBlock = 64;

struct Sequence {
  int64_t first_row;
  int64_t tokens;
  float* state;  // [states, channels]
};

struct Args {
  int64_t channels;
  int64_t states;
  const float* x;
  int64_t ldx;
  const float* dt;  // rows `channels` apart, as those of y
  const float* b;
  const float* c;
  int64_t ldbc;
  const float* z;  // null: no gate
  int64_t ldz;
  const float* rates;  // [states, channels]
  const float* skip;   // [channels]
  float* y;
  const Sequence* sequences;
  int64_t count;
};

// All sequences, channels [begin, end). `scratch` is 64-byte aligned and as large as the variant's
// scratch function says, in bytes.
using Run = void (*)(const Args& args, int64_t begin, int64_t end, void* scratch) noexcept;
using ScratchBytes = int64_t (*)(int64_t states) noexcept;

struct Variant {
  Run run;
  ScratchBytes scratch_bytes;
};

extern const Variant kReference;
extern const Variant kAvx2;
extern const Variant kAvx512;

}  // namespace aquatint::kernels::scan
