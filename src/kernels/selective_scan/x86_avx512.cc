// The selective scan on AVX-512.
#include <immintrin.h>

#include "kernels/selective_scan/selective_scan_body.h"
#include "kernels/simd_avx512.h"
#include "kernels/simd_denormals.h"

namespace aquatint::kernels::scan {
namespace {

struct Lanes : Vec {
  static constexpr int64_t kStateRows =
      16;  // that fit in registers beside what an exponential takes
};

}  // namespace

const Variant kAvx512 = {flushed<scan_body<Lanes>>, Tile<Lanes>::bytes};

}  // namespace aquatint::kernels::scan
