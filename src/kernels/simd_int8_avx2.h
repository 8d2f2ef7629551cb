// From float32 lanes to int8 values, beside simd_avx2.h and under its rules.
#pragma once

#include <string.h>

#include "kernels/simd_avx2.h"

namespace aquatint::kernels {
namespace {

struct Int8Vec {
  // Largest magnitude so far in each lane, as float bits: infinities and NaN are above all numbers.
  using Magnitude = __m256i;
  static Magnitude no_magnitude() { return _mm256_setzero_si256(); }
  static Magnitude widen(Magnitude m, __m256 v) { return _mm256_max_epi32(m, bits_of(v)); }
  static uint32_t largest(Magnitude m) {
    alignas(32) uint32_t parts[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(parts), m);
    uint32_t result = 0;
    for (const uint32_t part : parts) result = part > result ? part : result;
    return result;
  }

  // clamp(rint(v), low, 127) of the first n lanes (all if n is larger). REQUIRES: |v| < 2^31.
  static void store(int8_t* out, __m256 v, int low, int64_t n) {
    const __m256i q = _mm256_max_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(low));
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    if (n >= 8) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
      return;
    }
    int8_t parts[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(parts), bytes);
    memcpy(out, parts, static_cast<size_t>(n));
  }

  static int32_t sum(const int8_t* values, int64_t n) {
    const __m256i flip = _mm256_set1_epi8(-128);  // q + 128 as an unsigned byte
    __m256i sums = _mm256_setzero_si256();
    int64_t k = 0;
    for (; k + 32 <= n; k += 32) {
      const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + k));
      sums = _mm256_add_epi64(sums,
                              _mm256_sad_epu8(_mm256_xor_si256(q, flip), _mm256_setzero_si256()));
    }
    alignas(32) int64_t parts[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(parts), sums);
    int64_t total = parts[0] + parts[1] + parts[2] + parts[3] - 128 * k;
    for (; k < n; ++k) total += values[k];
    return static_cast<int32_t>(total);
  }

 private:
  static __m256i bits_of(__m256 v) {
    return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff));
  }
};

}  // namespace
}  // namespace aquatint::kernels
