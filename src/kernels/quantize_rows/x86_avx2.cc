#include <immintrin.h>

#include "kernels/quantize_rows/quantize_rows_variants.h"
#include "kernels/quantized_row.h"
#include "kernels/simd_int8_avx2.h"
#include "kernels/simd_quantize.h"

namespace aquatint::kernels {
namespace {

// Lanes 0..count-1 set, count from 0 to 8.
__m256i lane_mask(std::int64_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
}

__m256 load_upto_8(const float* p, std::int64_t left) {
  if (left >= 8) return _mm256_loadu_ps(p);
  if (left <= 0) return _mm256_setzero_ps();
  return _mm256_maskload_ps(p, lane_mask(left));
}

std::uint32_t reduce_max(__m256i v) {
  __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(m));
}

std::int32_t reduce_add(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  return _mm_cvtsi128_si32(s);
}

float reduce_add(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_shuffle_ps(s, s, 1));
  return _mm_cvtss_f32(s);
}

// Bits of the largest magnitude. As integers they order like the floats, with infinity and NaN on
// top.
std::uint32_t absmax_bits(const float* x, std::int64_t columns) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i best = _mm256_setzero_si256();
  for (std::int64_t k = 0; k < columns; k += 8) {
    const __m256i bits = _mm256_castps_si256(load_upto_8(x + k, columns - k));
    best = _mm256_max_epu32(best, _mm256_and_si256(bits, magnitude));
  }
  return reduce_max(best);
}

// A group of which the first `left` columns exist.
std::int32_t quantize_group(const float* x, std::int64_t left, std::int64_t group_size,
                            float inverse, std::int8_t* values) {
  const __m256 factor = _mm256_set1_ps(inverse);
  const __m256i least = _mm256_set1_epi32(-127);
  __m256i sum = _mm256_setzero_si256();
  for (std::int64_t k = 0; k < group_size; k += 8) {
    const __m256 scaled = _mm256_mul_ps(load_upto_8(x + k, left - k), factor);
    const __m256i q = _mm256_max_epi32(_mm256_cvtps_epi32(scaled), least);
    sum = _mm256_add_epi32(sum, q);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(values + k), _mm_packs_epi16(words, words));
  }
  return reduce_add(sum);
}

}  // namespace

bool quantize_rows_int8_avx2(const QuantizeRowsInt8Args& a, std::int64_t begin,
                             std::int64_t end) noexcept {
  const std::int64_t padded = a.group_size * a.groups;
  bool all_finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.columns;
    const std::uint32_t bits = absmax_bits(x, a.columns);
    const bool finite = bits < 0x7f800000u;
    const float absmax = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(bits))));
    const bool zero = !finite || absmax < kSmallestRowAbsmax;
    const float inverse = zero ? 0.0f : 127.0f / absmax;
    a.scales[m] = zero ? 0.0f : absmax / 127.0f;
    all_finite = all_finite && finite;
    for (std::int64_t g = 0; g < a.groups; ++g) {
      const std::int64_t at = g * a.group_size;
      const std::int64_t left = finite ? a.columns - at : 0;
      a.group_sums[m * a.groups + g] =
          quantize_group(x + at, left, a.group_size, inverse, a.values + m * padded + at);
    }
  }
  return all_finite;
}

bool quantize_rows_static_avx2(const QuantizeRowsStaticArgs& a, std::int64_t begin,
                               std::int64_t end) noexcept {
  bool all_finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.columns;
    all_finite = absmax_bits(x, a.columns) < kInfinityBits && all_finite;
    const QuantizedRow row{a.group_size, a.groups, a.values + m * a.group_size * a.groups, nullptr,
                           a.group_sums + m * a.groups};
    quantize_row_static<Vec, Int8Vec>(x, a.columns, a.factor, a.zero_point, kStaticLimit, row);
  }
  return all_finite;
}

bool round_rows_bf16_avx2(const RoundRowsBf16Args& a, std::int64_t begin,
                          std::int64_t end) noexcept {
  const std::int64_t padded = a.group_size * a.groups;
  const __m256i half = _mm256_set1_epi32(0x7fff);
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  const __m128i pairs = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  __m256i largest = _mm256_setzero_si256();
  for (std::int64_t m = begin; m < end; ++m) {
    for (std::int64_t g = 0; g < a.groups; ++g) {
      const std::int64_t at = g * a.group_size;
      const float* x = a.x + m * a.columns + at;
      std::uint16_t* values = a.values + m * padded + at;
      __m256 sum = _mm256_setzero_ps();
      for (std::int64_t k = 0; k < a.group_size; k += 8) {
        const __m256i bits = _mm256_castps_si256(load_upto_8(x + k, a.columns - at - k));
        // A NaN could round to something finite: look at the magnitudes before rounding too.
        largest = _mm256_max_epu32(largest, _mm256_and_si256(bits, magnitude));
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
        const __m256i rounded =
            _mm256_and_si256(_mm256_add_epi32(bits, _mm256_add_epi32(half, odd)), upper);
        largest = _mm256_max_epu32(largest, _mm256_and_si256(rounded, magnitude));
        sum = _mm256_add_ps(sum, _mm256_castsi256_ps(rounded));
        const __m256i words = _mm256_srli_epi32(rounded, 16);
        const __m128i packed =
            _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(values + k), _mm_shuffle_epi8(packed, pairs));
      }
      a.group_sums[m * a.groups + g] = reduce_add(sum);
    }
  }
  return reduce_max(largest) < 0x7f800000u;
}

}  // namespace aquatint::kernels
