#include <immintrin.h>

#include "kernels/round_bf16/round_bf16_internal.h"

namespace aquatint::kernels {
namespace {

// Eight values in the low halves of 32-bit lanes: bits + 0x7fff + (bit 16), shifted down; NaN is
// kept a NaN.
__m256i rounded(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_srli_epi32(_mm256_blendv_epi8(sum, quiet, nan), 16);
}

__m256i not_finite(__m256i y) {
  const __m256i exponent = _mm256_set1_epi32(0x7f80);
  return _mm256_cmpeq_epi32(_mm256_and_si256(y, exponent), exponent);
}

}  // namespace

bool round_bf16_avx2(const float* x, std::int64_t n, std::uint16_t* y) noexcept {
  __m256i bad = _mm256_setzero_si256();
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m256i a = rounded(_mm256_loadu_ps(x + i));
    const __m256i b = rounded(_mm256_loadu_ps(x + i + 8));
    bad = _mm256_or_si256(bad, _mm256_or_si256(not_finite(a), not_finite(b)));
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), packed);
  }
  const bool finite = _mm256_testz_si256(bad, bad) != 0;
  return round_bf16_reference(x + i, n - i, y + i) && finite;
}

}  // namespace aquatint::kernels
