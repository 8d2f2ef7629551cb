#include <immintrin.h>

#include "kernels/quantize_rows/quantize_rows_variants.h"
#include "kernels/quantized_row.h"
#include "kernels/simd_int8_avx512.h"
#include "kernels/simd_quantize.h"

namespace aquatint::kernels {
namespace {

// GCC 12 warns of an uninitialized register in unmasked forms of some intrinsics; all lanes masked
// in is the same instruction.
constexpr __mmask16 kAll = 0xffff;

std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

__m256i lower_half(__m512i v) {
  return _mm512_maskz_extracti64x4_epi64(0xf, v, 0);
}
__m256i upper_half(__m512i v) {
  return _mm512_maskz_extracti64x4_epi64(0xf, v, 1);
}

std::uint32_t reduce_max(__m512i v) {
  const __m256i h = _mm256_max_epu32(lower_half(v), upper_half(v));
  __m128i m = _mm_max_epu32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(m));
}

std::int32_t reduce_add(__m512i v) {
  const __m256i h = _mm256_add_epi32(lower_half(v), upper_half(v));
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  return _mm_cvtsi128_si32(s);
}

float reduce_add(__m512 v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m256 h =
      _mm256_add_ps(_mm256_castsi256_ps(lower_half(bits)), _mm256_castsi256_ps(upper_half(bits)));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_shuffle_ps(s, s, 1));
  return _mm_cvtss_f32(s);
}

// Lanes 0..count-1, for any count.
__mmask16 lane_mask(std::int64_t count) {
  if (count >= 16) return 0xffff;
  return count <= 0 ? __mmask16{0} : static_cast<__mmask16>((1u << count) - 1u);
}

// Bits of the largest magnitude. As integers they order like the floats, with infinity and NaN on
// top.
std::uint32_t absmax_bits(const float* x, std::int64_t columns) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i best[4] = {};
  std::int64_t k = 0;
  for (; k + 64 <= columns; k += 64) {
    for (int i = 0; i < 4; ++i) {
      const __m512i bits = _mm512_loadu_si512(x + k + i * 16);
      best[i] = _mm512_maskz_max_epu32(kAll, best[i], _mm512_and_si512(bits, magnitude));
    }
  }
  for (; k < columns; k += 16) {
    const __m512i bits = _mm512_maskz_loadu_epi32(lane_mask(columns - k), x + k);
    best[0] = _mm512_maskz_max_epu32(kAll, best[0], _mm512_and_si512(bits, magnitude));
  }
  best[0] = _mm512_maskz_max_epu32(kAll, best[0], best[1]);
  best[2] = _mm512_maskz_max_epu32(kAll, best[2], best[3]);
  return reduce_max(_mm512_maskz_max_epu32(kAll, best[0], best[2]));
}

__m512i quantize_16(__m512 x, __m512 factor) {
  return _mm512_maskz_max_epi32(kAll, _mm512_maskz_cvtps_epi32(kAll, _mm512_mul_ps(x, factor)),
                                _mm512_set1_epi32(-127));
}

// A group of which the first `left` columns exist.
std::int32_t quantize_group(const float* x, std::int64_t left, std::int64_t group_size,
                            float inverse, std::int8_t* values) {
  const __m512 factor = _mm512_set1_ps(inverse);
  __m512i sum = _mm512_setzero_si512();
  const std::int64_t whole = left / 16 * 16;
  std::int64_t k = 0;
  for (; k < whole; k += 16) {
    const __m512i q = quantize_16(_mm512_loadu_ps(x + k), factor);
    sum = _mm512_add_epi32(sum, q);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(values + k), _mm512_maskz_cvtsepi32_epi8(kAll, q));
  }
  for (; k < group_size; k += 16) {
    const __m512i q = quantize_16(_mm512_maskz_loadu_ps(lane_mask(left - k), x + k), factor);
    sum = _mm512_add_epi32(sum, q);
    _mm512_mask_cvtsepi32_storeu_epi8(values + k, lane_mask(group_size - k), q);
  }
  return reduce_add(sum);
}

// Rounds 16 values to bf16 in the upper halves of their lanes, nearest even.
__m512i round_16(__m512i bits) {
  const __m512i odd =
      _mm512_and_si512(_mm512_maskz_srli_epi32(kAll, bits, 16), _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  return _mm512_and_si512(sum, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
}

}  // namespace

bool quantize_rows_int8_avx512(const QuantizeRowsInt8Args& a, std::int64_t begin,
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
      const std::int64_t left = finite ? least(a.columns - at, a.group_size) : 0;
      a.group_sums[m * a.groups + g] =
          quantize_group(x + at, left, a.group_size, inverse, a.values + m * padded + at);
    }
  }
  return all_finite;
}

bool quantize_rows_static_avx512(const QuantizeRowsStaticArgs& a, std::int64_t begin,
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

bool round_rows_bf16_avx512(const RoundRowsBf16Args& a, std::int64_t begin,
                            std::int64_t end) noexcept {
  const std::int64_t padded = a.group_size * a.groups;
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m256i pairs = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
  __m512i largest = _mm512_setzero_si512();
  for (std::int64_t m = begin; m < end; ++m) {
    for (std::int64_t g = 0; g < a.groups; ++g) {
      const std::int64_t at = g * a.group_size;
      const float* x = a.x + m * a.columns + at;
      std::uint16_t* values = a.values + m * padded + at;
      const std::int64_t left = least(a.columns - at, a.group_size);
      __m512 sum = _mm512_setzero_ps();
      for (std::int64_t k = 0; k < a.group_size; k += 16) {
        const __m512i bits = _mm512_maskz_loadu_epi32(lane_mask(left - k), x + k);
        // A NaN could round to something finite: look at the magnitudes before rounding too.
        largest = _mm512_maskz_max_epu32(kAll, largest, _mm512_and_si512(bits, magnitude));
        const __m512i rounded = round_16(bits);
        largest = _mm512_maskz_max_epu32(kAll, largest, _mm512_and_si512(rounded, magnitude));
        sum = _mm512_add_ps(sum, _mm512_castsi512_ps(rounded));
        const __m256i words =
            _mm512_maskz_cvtepi32_epi16(kAll, _mm512_maskz_srli_epi32(kAll, rounded, 16));
        _mm256_mask_storeu_epi16(values + k, lane_mask(a.group_size - k),
                                 _mm256_shuffle_epi8(words, pairs));
      }
      a.group_sums[m * a.groups + g] = reduce_add(sum);
    }
  }
  return reduce_max(largest) < 0x7f800000u;
}

}  // namespace aquatint::kernels
