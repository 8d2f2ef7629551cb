// The selective scan on AVX2.
#include <immintrin.h>

#include "kernels/selective_scan/selective_scan_body.h"
#include "kernels/simd_avx2.h"

namespace aquatint::kernels::scan {
namespace {

struct Lanes : Vec {
  static constexpr int64_t kStateRows =
      4;  // that fit in registers beside what an exponential takes
};

// States of channels that nothing feeds decay through denormal numbers, which are slow and too
// small to matter: flush them.
constexpr unsigned kFlushDenormals = 0x8040;

void run(const Args& args, int64_t begin, int64_t end, void* scratch) noexcept {
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | kFlushDenormals);
  scan_body<Lanes>(args, begin, end, scratch);
  _mm_setcsr(mode);
}

}  // namespace

const Variant kAvx2 = {run, Tile<Lanes>::bytes};

}  // namespace aquatint::kernels::scan
