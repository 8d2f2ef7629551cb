// Eight stored values of packed weights, and what is common to their group.
#pragma once

#include <stdint.h>

#include "kernels/quant_matmul/cuda_args.h"

namespace aquatint::kernels {
namespace {

// q of columns 8 * chunk .. + 7 of an output.
__device__ __forceinline__ void load_values(const QuantWeightsCuda& w, int64_t output,
                                            int64_t chunk, int (&q)[8]) {
  if (w.bits == 4) {
    const int64_t panel = output / 16 * (w.padded_columns / 128);
    const uint8_t* at = w.data + (panel + chunk / 16) * 1024 + output % 16 * 64 + chunk % 4 * 16 +
                        chunk % 16 / 4 * 4;
    const uint32_t word = *reinterpret_cast<const uint32_t*>(at);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int nibble = i / 2 + i % 2 * 4;
      q[i] = static_cast<int>((word >> (4 * nibble)) & 15u) - 8;
    }
  } else {
    const uint2 eight =
        *reinterpret_cast<const uint2*>(w.data + output * w.padded_columns + chunk * 8);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t word = i < 4 ? eight.x : eight.y;
      q[i] = static_cast<int8_t>((word >> (i % 4 * 8)) & 255u);
    }
  }
}

struct Group {
  float scale = 0;
  int zero = 0;
};

__device__ __forceinline__ Group load_group(const QuantWeightsCuda& w, int64_t output,
                                            int64_t column) {
  const int64_t at = (output / 16 * w.groups + column / w.group_size) * 16 + output % 16;
  return {w.scales[at], w.zeros != nullptr ? w.zeros[at] : 0};
}

}  // namespace
}  // namespace aquatint::kernels
