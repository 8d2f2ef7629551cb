// Mamba-2's recurrence on AVX-512.
#include <immintrin.h>

#include "kernels/simd_avx512.h"
#include "kernels/simd_denormals.h"
#include "kernels/ssd/chunked_body.h"
#include "kernels/ssd/recurrent_body.h"

namespace aquatint::kernels::ssd {
namespace {

struct Lanes : Vec {
  static constexpr int64_t kRows = 8;    // x 2 vectors of accumulators
  static constexpr int64_t kChunk = 32;  // tokens
  static constexpr bool kPairs = false;
};

}  // namespace

const Variant kAvx512 = {{flushed<recurrent_run<Lanes>>, recurrent_scratch<Lanes>},
                         {flushed<chunked_run<Lanes>>, chunked_scratch<Lanes>},
                         8};

}  // namespace aquatint::kernels::ssd
