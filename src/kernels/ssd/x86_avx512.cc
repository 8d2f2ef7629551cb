// Mamba-2's recurrence on AVX-512.
#include <immintrin.h>

#include "kernels/simd_avx512.h"
#include "kernels/ssd/chunked_body.h"
#include "kernels/ssd/recurrent_body.h"

namespace aquatint::kernels::ssd {
namespace {

struct Lanes : Vec {
  static constexpr int64_t kRows = 8;    // x 2 vectors of accumulators
  static constexpr int64_t kChunk = 32;  // tokens
  static constexpr bool kPairs = false;
};

// Products of decays run through denormal numbers on their way to zero. They are slow and too small
// to matter: flush them.
constexpr unsigned kFlushDenormals = 0x8040;

template <void (*kRun)(const Task& task, void* scratch) noexcept>
void flushed(const Task& task, void* scratch) noexcept {
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | kFlushDenormals);
  kRun(task, scratch);
  _mm_setcsr(mode);
}

}  // namespace

const Variant kAvx512 = {{flushed<recurrent_run<Lanes>>, recurrent_scratch<Lanes>},
                         {flushed<chunked_run<Lanes>>, chunked_scratch<Lanes>},
                         8};

}  // namespace aquatint::kernels::ssd
