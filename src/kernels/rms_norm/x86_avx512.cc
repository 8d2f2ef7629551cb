#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined pass-through operand inside its own intrinsics for a mistake (bug
// 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "kernels/rms_norm/rms_norm_internal.h"

namespace aquatint::kernels::detail {
namespace {

constexpr std::int64_t kLanes = 16;

__mmask16 lanes(std::int64_t left) {
  return left >= kLanes ? __mmask16{0xffff} : static_cast<__mmask16>((1u << left) - 1u);
}

// Lanes summed in a fixed order.
float sum_lanes(__m512 v) {
  alignas(64) float parts[16];
  _mm512_store_ps(parts, v);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) parts[i] += parts[i + width];
  }
  return parts[0];
}

// 1 / sqrt(mean(x^2) + eps); with `delta`, of x += delta.
template <bool add>
float inverse_rms(float* residual, const float* x, std::int64_t columns, float eps) {
  __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                    _mm512_setzero_ps()};
  for (std::int64_t k = 0; k < columns; k += 4 * kLanes) {
    for (int i = 0; i < 4; ++i) {
      const std::int64_t at = k + i * kLanes;
      if (at >= columns) break;
      const __mmask16 mask = lanes(columns - at);
      __m512 v = _mm512_maskz_loadu_ps(mask, x + at);
      if constexpr (add) {
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, residual + at));
        _mm512_mask_storeu_ps(residual + at, mask, v);
      }
      sums[i] = _mm512_fmadd_ps(v, v, sums[i]);
    }
  }
  const __m512 sum =
      _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
  return 1.0f / std::sqrt(sum_lanes(sum) / static_cast<float>(columns) + eps);
}

__m512 scaled(const float* x, const float* w, std::int64_t k, __mmask16 mask, __m512 inverse) {
  const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + k), inverse);
  return w != nullptr ? _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, w + k)) : v;
}

__m512i magnitude(__m512 v) {
  return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}

// Writes the row and returns the bits of its largest magnitude: infinities and NaN are above all
// others.
std::uint32_t scale_row(const float* x, const float* w, std::int64_t columns, float inverse,
                        float* y) {
  const __m512 factor = _mm512_set1_ps(inverse);
  __m512i largest = _mm512_setzero_si512();
  for (std::int64_t k = 0; k < columns; k += kLanes) {
    const __mmask16 mask = lanes(columns - k);
    const __m512 v = scaled(x, w, k, mask, factor);
    _mm512_mask_storeu_ps(y + k, mask, v);
    largest = _mm512_max_epi32(largest, magnitude(v));
  }
  alignas(64) std::uint32_t parts[16];
  _mm512_store_si512(parts, largest);
  std::uint32_t bits = 0;
  for (const std::uint32_t part : parts) bits = part > bits ? part : bits;
  return bits;
}

bool norm(const RmsNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  for (std::int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.columns;
    const float inverse = inverse_rms<false>(nullptr, x, a.columns, a.eps);
    scale_row(x, a.w, a.columns, inverse, a.y + m * a.columns);
  }
  return true;
}

bool add_norm(const RmsNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  for (std::int64_t m = begin; m < end; ++m) {
    float* residual = a.residual + m * a.columns;
    const float inverse = inverse_rms<true>(residual, a.x + m * a.columns, a.columns, a.eps);
    scale_row(residual, a.w, a.columns, inverse, a.y + m * a.columns);
  }
  return true;
}

std::int32_t sum_bytes(const std::int8_t* values, std::int64_t n) {
  const __m512i flip = _mm512_set1_epi8(-128);
  __m512i sums = _mm512_setzero_si512();
  for (std::int64_t k = 0; k < n; k += 64) {
    const __mmask64 mask = n - k >= 64 ? ~__mmask64{0} : (__mmask64{1} << (n - k)) - 1;
    // q + 128 as unsigned bytes; lanes past the end stay 0.
    const __m512i q = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, values + k), flip);
    sums = _mm512_add_epi64(
        sums, _mm512_sad_epu8(_mm512_maskz_mov_epi8(mask, q), _mm512_setzero_si512()));
  }
  alignas(64) std::int64_t parts[8];
  _mm512_store_si512(parts, sums);
  std::int64_t total = -128 * n;
  for (const std::int64_t part : parts) total += part;
  return static_cast<std::int32_t>(total);
}

bool quantize_row(const RmsNormArgs& a, std::int64_t m, std::uint32_t absmax_bits) {
  const std::int64_t padded = a.group_size * a.groups;
  std::int8_t* values = a.values + m * padded;
  std::int32_t* sums = a.group_sums + m * a.groups;
  float absmax = 0;
  std::memcpy(&absmax, &absmax_bits, sizeof(absmax));
  const bool finite = absmax_bits < 0x7f800000u;
  if (!finite || absmax < kRmsSmallestAbsmax) {
    a.scales[m] = 0;
    std::memset(values, 0, static_cast<std::size_t>(padded));
    std::memset(sums, 0, static_cast<std::size_t>(a.groups) * sizeof(*sums));
    return finite;
  }
  a.scales[m] = absmax / 127.0f;
  const __m512 inverse = _mm512_set1_ps(127.0f / absmax);
  for (std::int64_t k = 0; k < a.columns; k += kLanes) {
    const __mmask16 mask = lanes(a.columns - k);
    const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, a.y + k), inverse);
    const __m512i q = _mm512_max_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(-127));
    _mm512_mask_cvtsepi32_storeu_epi8(values + k, mask, q);
  }
  std::memset(values + a.columns, 0, static_cast<std::size_t>(padded - a.columns));
  for (std::int64_t g = 0; g < a.groups; ++g) {
    sums[g] = sum_bytes(values + g * a.group_size, a.group_size);
  }
  return true;
}

bool norm_int8(const RmsNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  bool finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.columns;
    const float inverse = inverse_rms<false>(nullptr, x, a.columns, a.eps);
    const std::uint32_t absmax = scale_row(x, a.w, a.columns, inverse, a.y);
    finite = quantize_row(a, m, absmax) && finite;
  }
  return finite;
}

bool norm_int8_static(const RmsNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  const __m512 scale = _mm512_set1_ps(a.scale);
  const __m512 low = _mm512_set1_ps(-128.0f), high = _mm512_set1_ps(127.0f);
  const __m512i infinity = _mm512_set1_epi32(0x7f800000);
  __mmask16 broken = 0;
  for (std::int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.columns;
    const __m512 inverse = _mm512_set1_ps(inverse_rms<false>(nullptr, x, a.columns, a.eps));
    for (std::int64_t k = 0; k < a.columns; k += kLanes) {
      const __mmask16 mask = lanes(a.columns - k);
      const __m512 v = scaled(x, a.w, k, mask, inverse);
      const __mmask16 bad = _mm512_cmpge_epi32_mask(magnitude(v), infinity);
      broken = static_cast<__mmask16>(broken | bad);
      const __m512 q = _mm512_maskz_div_ps(static_cast<__mmask16>(~bad), v, scale);
      const __m512i clamped = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(q, low), high));
      _mm512_mask_cvtsepi32_storeu_epi8(a.values + m * a.columns + k, mask, clamped);
    }
  }
  return broken == 0;
}

}  // namespace

const RmsNormKernels kRmsNormAvx512{norm, add_norm, norm_int8, norm_int8_static};

}  // namespace aquatint::kernels::detail
