#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "kernels/rms_norm/rms_norm_internal.h"

namespace aquatint::kernels::detail {
namespace {

constexpr std::int64_t kLanes = 8;

// All ones in the first `left` lanes.
__m256i lanes(std::int64_t left) {
  alignas(32) static constexpr std::int32_t kMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                          0,  0,  0,  0,  0,  0,  0,  0};
  const std::int64_t n = left < kLanes ? left : kLanes;
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMasks + kLanes - n));
}

// Lanes summed in a fixed order.
float sum_lanes(__m256 v) {
  alignas(32) float parts[8];
  _mm256_store_ps(parts, v);
  for (int width = 4; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) parts[i] += parts[i + width];
  }
  return parts[0];
}

// 1 / sqrt(mean(x^2) + eps); with `add`, of residual += x.
template <bool add>
float inverse_rms(float* residual, const float* x, std::int64_t columns, float eps) {
  __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                    _mm256_setzero_ps()};
  for (std::int64_t k = 0; k < columns; k += 4 * kLanes) {
    for (int i = 0; i < 4; ++i) {
      const std::int64_t at = k + i * kLanes;
      if (at >= columns) break;
      const __m256i mask = lanes(columns - at);
      __m256 v = _mm256_maskload_ps(x + at, mask);
      if constexpr (add) {
        v = _mm256_add_ps(v, _mm256_maskload_ps(residual + at, mask));
        _mm256_maskstore_ps(residual + at, mask, v);
      }
      sums[i] = _mm256_fmadd_ps(v, v, sums[i]);
    }
  }
  const __m256 sum =
      _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
  return 1.0f / std::sqrt(sum_lanes(sum) / static_cast<float>(columns) + eps);
}

__m256 scaled(const float* x, const float* w, std::int64_t k, __m256i mask, __m256 inverse) {
  const __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + k, mask), inverse);
  return w != nullptr ? _mm256_mul_ps(v, _mm256_maskload_ps(w + k, mask)) : v;
}

__m256i magnitude(__m256 v) {
  return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff));
}

std::uint32_t largest_lane(__m256i v) {
  alignas(32) std::uint32_t parts[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(parts), v);
  std::uint32_t largest = 0;
  for (const std::uint32_t part : parts) largest = part > largest ? part : largest;
  return largest;
}

// Writes the row and returns the bits of its largest magnitude: infinities and NaN are above all
// others.
std::uint32_t scale_row(const float* x, const float* w, std::int64_t columns, float inverse,
                        float* y) {
  const __m256 factor = _mm256_set1_ps(inverse);
  __m256i largest = _mm256_setzero_si256();
  for (std::int64_t k = 0; k < columns; k += kLanes) {
    const __m256i mask = lanes(columns - k);
    const __m256 v = scaled(x, w, k, mask, factor);
    _mm256_maskstore_ps(y + k, mask, v);
    largest = _mm256_max_epi32(largest, magnitude(v));
  }
  return largest_lane(largest);
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

// Stores the low bytes of the first `left` lanes, each within int8 range.
void store_bytes(__m256i v, std::int64_t left, std::int8_t* out) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i bytes = _mm_packs_epi16(words, words);
  if (left >= kLanes) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
    return;
  }
  std::int8_t parts[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(parts), bytes);
  std::memcpy(out, parts, static_cast<std::size_t>(left));
}

std::int32_t sum_bytes(const std::int8_t* values, std::int64_t n) {
  const __m256i flip = _mm256_set1_epi8(-128);
  __m256i sums = _mm256_setzero_si256();
  std::int64_t k = 0;
  for (; k + 32 <= n; k += 32) {
    const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + k));
    sums =
        _mm256_add_epi64(sums, _mm256_sad_epu8(_mm256_xor_si256(q, flip), _mm256_setzero_si256()));
  }
  alignas(32) std::int64_t parts[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(parts), sums);
  std::int64_t total = parts[0] + parts[1] + parts[2] + parts[3] - 128 * k;
  for (; k < n; ++k) total += values[k];
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
  const __m256 inverse = _mm256_set1_ps(127.0f / absmax);
  const __m256i low = _mm256_set1_epi32(-127);
  for (std::int64_t k = 0; k < a.columns; k += kLanes) {
    const __m256 v = _mm256_mul_ps(_mm256_maskload_ps(a.y + k, lanes(a.columns - k)), inverse);
    store_bytes(_mm256_max_epi32(_mm256_cvtps_epi32(v), low), a.columns - k, values + k);
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
  const __m256 scale = _mm256_set1_ps(a.scale);
  const __m256 low = _mm256_set1_ps(-128.0f), high = _mm256_set1_ps(127.0f);
  const __m256i last_finite = _mm256_set1_epi32(0x7f7fffff);
  __m256i broken = _mm256_setzero_si256();
  for (std::int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.columns;
    const __m256 inverse = _mm256_set1_ps(inverse_rms<false>(nullptr, x, a.columns, a.eps));
    for (std::int64_t k = 0; k < a.columns; k += kLanes) {
      const __m256 v = scaled(x, a.w, k, lanes(a.columns - k), inverse);
      const __m256i bad = _mm256_cmpgt_epi32(magnitude(v), last_finite);
      broken = _mm256_or_si256(broken, bad);
      const __m256 q = _mm256_div_ps(_mm256_andnot_ps(_mm256_castsi256_ps(bad), v), scale);
      const __m256 clamped = _mm256_min_ps(_mm256_max_ps(q, low), high);
      store_bytes(_mm256_cvtps_epi32(clamped), a.columns - k, a.values + m * a.columns + k);
    }
  }
  return _mm256_testz_si256(broken, broken) != 0;
}

}  // namespace

const RmsNormKernels kRmsNormAvx2{norm, add_norm, norm_int8, norm_int8_static};

}  // namespace aquatint::kernels::detail
