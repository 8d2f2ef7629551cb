// The kernel bodies of activation, one set per instruction set. Plain declarations only, so that
// files compiled for an instruction set can include it.
#pragma once

#include <cstdint>

#include "kernels/activation/activation_kind.h"

namespace aquatint::kernels::detail {

// Pointers are to whole matrices as in activation.h.
struct GatedInt8Args {
  const float* gate = nullptr;
  const float* up = nullptr;  // or null: no factor
  std::int64_t columns = 0;
  std::int64_t group_size = 0;
  std::int64_t groups = 0;
  std::int8_t* values = nullptr;
  float* scales = nullptr;
  std::int32_t* group_sums = nullptr;
  float* buffer = nullptr;  // `columns` floats
};

// y = f(gate) * up, or f(gate) where `up` is null.
using GatedFunction = void (*)(Activation activation, const float* gate, const float* up,
                               std::int64_t n, float* y) noexcept;
// Rows [begin, end); whether all results are finite.
using GatedInt8Function = bool (*)(Activation activation, const GatedInt8Args& a,
                                   std::int64_t begin, std::int64_t end) noexcept;

struct ActivationKernels {
  GatedFunction gated;
  GatedInt8Function gated_int8;
};

extern const ActivationKernels kActivationReference;
extern const ActivationKernels kActivationAvx2;
extern const ActivationKernels kActivationAvx512;

}  // namespace aquatint::kernels::detail
