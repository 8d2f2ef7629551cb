// Internal to kernels/gla: what one thread is asked to do, and the variants that can do it. Plain
// data and declarations only, because files compiled for a higher instruction set include it.
#pragma once

#include <cstdint>

namespace aquatint::kernels::gla {

// Slices of dv handed to threads begin at multiples of this, so that every variant computes a
// column in the same way however the work is divided.
inline constexpr std::int64_t kColumnBlock = 32;

// One kv head of one sequence, restricted to `columns` columns of v, o and the state. Pointers are
// at the first row, head and column; strides are in floats between tokens (state: between rows of
// dk).
struct HeadTask {
  std::int64_t tokens;
  std::int64_t group;  // query heads that use this kv head: q + c*dk, o + c*dv
  std::int64_t dk;
  std::int64_t dv;
  std::int64_t columns;
  float scale;
  const float* q;
  const float* k;
  const float* v;
  const float* g;
  float* o;
  float* state;
  std::int64_t q_stride;
  std::int64_t k_stride;  // also of g
  std::int64_t v_stride;
  std::int64_t o_stride;
  std::int64_t state_stride;
};

struct LogDecayParams {
  float normalizer;
  float lowest;  // -inf for no clamp
};

// `scratch` is 64-byte aligned and at least as large as the variant's scratch function says, in
// bytes.
using HeadKernel = void (*)(const HeadTask& task, void* scratch) noexcept;
using ScratchSize = std::int64_t (*)(const HeadTask& task) noexcept;
using LogDecayKernel = void (*)(float* r, std::int64_t n, const LogDecayParams& params) noexcept;

struct Form {
  HeadKernel run;
  ScratchSize scratch_bytes;
};

struct Variant {
  Form recurrent;
  Form chunked;
  LogDecayKernel log_decay;
  std::int64_t chunked_from;  // tokens from which the chunked form is the faster one
};

const Variant& reference_variant() noexcept;
const Variant& avx2_variant() noexcept;
const Variant& avx512_variant() noexcept;

}  // namespace aquatint::kernels::gla
