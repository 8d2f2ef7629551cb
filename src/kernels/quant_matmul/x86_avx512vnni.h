// What the two halves of the avx512vnni variant share: x86_avx512vnni.stream.cc (few rows) and
// x86_avx512vnni.cc (many).
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/quant_matmul/quant_matmul_variants.h"

namespace aquatint::kernels {

// At most kStreamRows rows at a time through the packed bytes; any number of rows, any group size.
void stream_a8_avx512vnni(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
                          std::int64_t panel_begin, std::int64_t panel_end) noexcept;

namespace {

constexpr std::int64_t kPanel = 16;
// GCC 12 warns of an uninitialized register in unmasked forms of some intrinsics; all lanes masked
// in is the same instruction.
constexpr __mmask16 kAll = 0xffff;
constexpr std::int64_t kVector = 64;
constexpr std::int64_t kStreamRows = 4;  // at most this many rows are streamed

inline std::int64_t padded_columns(const QuantMatmulArgs& a) {
  return a.group_size * a.groups;
}

inline std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

// Four neighbouring activations of one row in every lane.
inline __m512i broadcast_quad(const std::int8_t* x) {
  int quad = 0;
  std::memcpy(&quad, x, sizeof quad);
  return _mm512_set1_epi32(quad);
}

// sum += u * x: 4 products per lane, u unsigned, x signed. Not the intrinsic, with which GCC 12
// copies every sum before and after.
inline void add_dot(__m512i& sum, __m512i u, __m512i x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(u), "v"(x));
}

// Loads a vector into a register for good: GCC 12 would rather load it again at each use.
inline __m512i load_once(const void* p) {
  __m512i v = _mm512_loadu_si512(p);
  asm("" : "+v"(v));
  return v;
}

// Outputs of `panel` that exist.
inline __mmask16 output_mask(const QuantMatmulArgs& a, std::int64_t panel) {
  const std::int64_t left = a.outputs - panel * kPanel;
  return left >= kPanel ? __mmask16{0xffff} : static_cast<__mmask16>((1u << left) - 1u);
}

// -z * xsum for the 16 outputs of a panel: what the integer sum of a group starts from.
inline __m512i start(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t row,
                     std::int64_t g) {
  const std::int32_t sum = a.sums8[row * a.groups + g];
  if (a.zeros == nullptr) return _mm512_set1_epi32(-a.symmetric_zero * sum);
  const auto* z = reinterpret_cast<const __m128i*>(a.zeros + (panel * a.groups + g) * kPanel);
  return _mm512_mullo_epi32(_mm512_maskz_cvtepu8_epi32(kAll, _mm_loadu_si128(z)),
                            _mm512_set1_epi32(-sum));
}

inline __m512 load_scales(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t g) {
  return _mm512_loadu_ps(a.scales + (panel * a.groups + g) * kPanel);
}

inline void finish(const QuantMatmulArgs& a, std::int64_t row, std::int64_t panel, __m512 sum) {
  const __mmask16 mask = output_mask(a, panel);
  const __m512 scale = _mm512_set1_ps(a.x_scales[row]);
  const __m512 result =
      a.bias != nullptr
          ? _mm512_fmadd_ps(sum, scale, _mm512_maskz_loadu_ps(mask, a.bias + panel * kPanel))
          : _mm512_mul_ps(sum, scale);
  _mm512_mask_storeu_ps(a.y + row * a.ldy + panel * kPanel, mask, result);
}

// Eight columns of 16 outputs as two vectors of unsigned bytes.
struct Quads {
  __m512i first, second;
};

inline Quads split_nibbles(__m512i v) {
  const __m512i low = _mm512_set1_epi8(15);
  return {_mm512_and_si512(v, low), _mm512_and_si512(_mm512_srli_epi16(v, 4), low)};
}

template <int kBits>
inline Quads load_quads(const std::uint8_t* w) {
  if constexpr (kBits == 4) return split_nibbles(_mm512_loadu_si512(w));
  return {_mm512_loadu_si512(w), _mm512_loadu_si512(w + kVector)};
}

}  // namespace
}  // namespace aquatint::kernels
