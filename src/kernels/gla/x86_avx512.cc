// Gated linear attention on AVX-512.
#include <immintrin.h>
#include <stdint.h>

#include "kernels/gla/chunked_body.h"
#include "kernels/gla/gla_kernels.h"
#include "kernels/gla/log_decay_body.h"
#include "kernels/gla/recurrent_body.h"
#include "kernels/simd_avx512.h"
#include "kernels/simd_denormals.h"

namespace aquatint::kernels::gla {
namespace {

struct Lanes : Vec {
  static constexpr int64_t kRows = 8;    // x 2 vectors: 16 accumulators cover latency x 2 pipes
  static constexpr int64_t kChunk = 32;  // tokens
  static constexpr int64_t kDiagonalSplit = 3;
};

}  // namespace

const Variant& avx512_variant() noexcept {
  static constexpr Variant kVariant = {{flushed<recurrent_run<Lanes>>, recurrent_scratch<Lanes>},
                                       {flushed<chunked_run<Lanes>>, chunked_scratch<Lanes>},
                                       log_decay_simd<Lanes>,
                                       5};
  return kVariant;
}

}  // namespace aquatint::kernels::gla
