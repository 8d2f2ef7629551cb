// From float32 lanes to int8 values, beside simd_avx512.h and under its rules.
#pragma once

#include "kernels/simd_avx512.h"

namespace aquatint::kernels {
namespace {

struct Int8Vec {
  // Largest magnitude so far in each lane, as float bits: infinities and NaN are above all numbers.
  using Magnitude = __m512i;
  static Magnitude no_magnitude() { return _mm512_setzero_si512(); }
  static Magnitude widen(Magnitude m, __m512 v) {
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
    return _mm512_maskz_max_epi32(kAll, m, bits);
  }
  static uint32_t largest(Magnitude m) {
    alignas(64) uint32_t parts[16];
    _mm512_store_si512(parts, m);
    uint32_t result = 0;
    for (const uint32_t part : parts) result = part > result ? part : result;
    return result;
  }

  // clamp(rint(v), low, 127) of the first n lanes (all if n is larger). REQUIRES: |v| < 2^31.
  static void store(int8_t* out, __m512 v, int low, int64_t n) {
    const __mmask16 mask = n >= 16 ? kAll : static_cast<__mmask16>((1U << n) - 1U);
    const __m512i q =
        _mm512_maskz_max_epi32(kAll, _mm512_maskz_cvtps_epi32(kAll, v), _mm512_set1_epi32(low));
    _mm512_mask_cvtsepi32_storeu_epi8(out, mask, q);
  }

  static int32_t sum(const int8_t* values, int64_t n) {
    const __m512i flip = _mm512_set1_epi8(-128);  // q + 128 as an unsigned byte
    __m512i sums = _mm512_setzero_si512();
    for (int64_t k = 0; k < n; k += 64) {
      const __mmask64 mask = n - k >= 64 ? ~__mmask64{0} : (__mmask64{1} << (n - k)) - 1;
      const __m512i q = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, values + k), flip);
      sums = _mm512_add_epi64(
          sums, _mm512_sad_epu8(_mm512_maskz_mov_epi8(mask, q), _mm512_setzero_si512()));
    }
    alignas(64) int64_t parts[8];
    _mm512_store_si512(parts, sums);
    int64_t total = -128 * n;
    for (const int64_t part : parts) total += part;
    return static_cast<int32_t>(total);
  }

 private:
  // Masked forms for the reason simd_avx512.h gives.
  static constexpr __mmask16 kAll = 0xFFFF;
};

}  // namespace
}  // namespace aquatint::kernels
