// Sixteen float32 lanes with the few operations our kernels share, so that one body serves AVX2 and
// AVX-512. Included only by files compiled for AVX-512; the anonymous namespace keeps that code out
// of other objects.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace aquatint::kernels {
namespace {

struct Vec {
  using Reg = __m512;
  static constexpr int64_t kWidth = 16;

  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Reg v) { _mm512_storeu_ps(p, v); }
  // The first n lanes (0 <= n <= 16); memory behind them is not touched, other lanes read as zero.
  static Reg load_first(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store_first(float* p, Reg v, int64_t n) { _mm512_mask_storeu_ps(p, first(n), v); }
  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg set(float x) { return _mm512_set1_ps(x); }
  static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  // a*b + c and c - a*b, rounded once.
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg fnma(Reg a, Reg b, Reg c) { return _mm512_fnmadd_ps(a, b, c); }
  // The second operand wins when either is NaN.
  static Reg max(Reg a, Reg b) { return _mm512_maskz_max_ps(kAll, a, b); }
  static Reg min(Reg a, Reg b) { return _mm512_maskz_min_ps(kAll, a, b); }
  static Reg round(Reg a) {
    return _mm512_maskz_roundscale_ps(kAll, a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // a * 2^n for integral n.
  static Reg scale(Reg a, Reg n) { return _mm512_maskz_scalef_ps(kAll, a, n); }
  static Reg scale_normal(Reg a, Reg n) { return scale(a, n); }
  // v where low <= at <= high, else `outside`.
  static Reg inside(Reg v, Reg at, Reg low, Reg high, Reg outside) {
    const __mmask16 above = _mm512_cmp_ps_mask(low, at, _CMP_LE_OQ);
    const __mmask16 in = _mm512_mask_cmp_ps_mask(above, at, high, _CMP_LE_OQ);
    return _mm512_mask_blend_ps(in, outside, v);
  }
  static float sum(Reg v) {
    const __m256 half = halves(v);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  static float max_lane(Reg v) {
    const __m256 half = _mm256_max_ps(_mm512_maskz_extractf32x8_ps(0xFF, v, 0),  //
                                      _mm512_maskz_extractf32x8_ps(0xFF, v, 1));
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }
  // out[i] = sum of the lanes of the i-th register.
  static void store_sums(float* out, Reg a, Reg b, Reg c, Reg d) {
    const __m256 ab = _mm256_hadd_ps(halves(a), halves(b));
    const __m256 cd = _mm256_hadd_ps(halves(c), halves(d));
    const __m256 abcd = _mm256_hadd_ps(ab, cd);
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
  }

 private:
  // GCC 12 takes the unmasked forms of some intrinsics for reads of an uninitialized register (its
  // bug 105593); with all lanes selected it emits the same instruction.
  static constexpr __mmask16 kAll = 0xFFFF;
  static __mmask16 first(int64_t n) { return static_cast<__mmask16>((1U << n) - 1U); }
  static __m256 halves(__m512 v) {
    return _mm256_add_ps(_mm512_maskz_extractf32x8_ps(0xFF, v, 0),
                         _mm512_maskz_extractf32x8_ps(0xFF, v, 1));
  }
};

}  // namespace
}  // namespace aquatint::kernels
