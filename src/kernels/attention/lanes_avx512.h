// The vectors of simd_avx512.h that also read the types of a key-value cache. Included only by
// files compiled for AVX-512.
#pragma once

#include "kernels/simd_avx512.h"

namespace aquatint::kernels {
namespace {

struct Lanes : Vec {
  // The first n lanes (all if n is larger); others are zero.
  static Reg load_bf16(const uint16_t* p, int64_t n) {
    const __m256i bits = _mm256_maskz_loadu_epi16(lanes(n), p);
    return _mm512_castsi512_ps(
        _mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, bits), 16));
  }
  static Reg load_int8(const int8_t* p, int64_t n) {
    const __m128i bytes = _mm_maskz_loadu_epi8(lanes(n), p);
    return _mm512_maskz_cvtepi32_ps(kAll, _mm512_maskz_cvtepi8_epi32(kAll, bytes));
  }

 private:
  static constexpr __mmask16 kAll = 0xFFFF;
  static __mmask16 lanes(int64_t n) {
    return n >= kWidth ? kAll : static_cast<__mmask16>((1U << n) - 1U);
  }
};

}  // namespace
}  // namespace aquatint::kernels
