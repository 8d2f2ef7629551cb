// The selective scan on AVX2.
#include <immintrin.h>

#include "kernels/selective_scan/selective_scan_body.h"
#include "kernels/simd_avx2.h"
#include "kernels/simd_denormals.h"

namespace aquatint::kernels::scan {
namespace {

struct Lanes : Vec {
  static constexpr int64_t kStateRows =
      4;  // that fit in registers beside what an exponential takes
};

}  // namespace

const Variant kAvx2 = {flushed<scan_body<Lanes>>, Tile<Lanes>::bytes};

}  // namespace aquatint::kernels::scan
