// What the two halves of the avx512bf16 variant share: x86_avx512bf16.stream.cc (few rows) and
// x86_avx512bf16.cc (many).
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/quant_matmul/quant_matmul_variants.h"

namespace aquatint::kernels {

// At most kStreamRows rows at a time through the packed bytes; any number of rows, any group size.
void stream_a16_avx512bf16(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
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

// Two activations in every lane.
inline __m512i broadcast_pair(const std::uint16_t* x) {
  int pair = 0;
  std::memcpy(&pair, x, sizeof pair);
  return _mm512_set1_epi32(pair);
}

// sum += w * x: one pair of bfloat16 products per lane. Not the intrinsic, with which GCC 12 copies
// every sum before and after.
inline void add_dot(__m512& sum, __m512i w, __m512i x) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
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

// What is subtracted from the unsigned weights when they become bfloat16.
inline int centre(const QuantMatmulArgs& a) {
  return a.bits == 4 ? 8 : 128;
}

inline __m512 load_scales(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t g) {
  return _mm512_loadu_ps(a.scales + (panel * a.groups + g) * kPanel);
}

inline bool has_offsets(const QuantMatmulArgs& a) {
  return a.zeros != nullptr || a.symmetric_zero != centre(a);
}

// centre - z of 16 outputs.
inline __m512 offsets(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t g) {
  __m512i z = _mm512_set1_epi32(a.symmetric_zero);
  if (a.zeros != nullptr) {
    const std::uint8_t* zeros = a.zeros + (panel * a.groups + g) * kPanel;
    z = _mm512_maskz_cvtepu8_epi32(kAll, _mm_loadu_si128(reinterpret_cast<const __m128i*>(zeros)));
  }
  return _mm512_maskz_cvtepi32_ps(kAll, _mm512_sub_epi32(_mm512_set1_epi32(centre(a)), z));
}

// (centre - z) * xsum: what the dot product of a group starts from.
inline __m512 start(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t row,
                    std::int64_t g) {
  if (!has_offsets(a)) return _mm512_setzero_ps();
  return _mm512_mul_ps(offsets(a, panel, g), _mm512_set1_ps(a.sums16[row * a.groups + g]));
}

inline void finish(const QuantMatmulArgs& a, std::int64_t row, std::int64_t panel, __m512 sum) {
  const __mmask16 mask = output_mask(a, panel);
  if (a.bias != nullptr) {
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, a.bias + panel * kPanel));
  }
  _mm512_mask_storeu_ps(a.y + row * a.ldy + panel * kPanel, mask, sum);
}

// bf16 of (i % 16 - offset) * factor for the 32 words of a vector.
inline __m512i nibble_table(int offset, int factor) {
  alignas(64) std::uint16_t words[32];
  for (int i = 0; i < 32; ++i) {
    const auto value = static_cast<float>((i % 16 - offset) * factor);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    words[i] = static_cast<std::uint16_t>(bits >> 16);
  }
  return _mm512_load_si512(words);
}

struct Tables {
  __m512i even, odd;  // for nibbles 0 and 2, and for nibbles 1 and 3 of each word
};

template <int kBits>
inline Tables make_tables() {
  if constexpr (kBits == 4) return {nibble_table(8, 1), nibble_table(8, 1)};
  return {nibble_table(0, 1), nibble_table(8, 16)};
}

// The four nibbles of each word of a packed vector as bfloat16.
struct Nibbles {
  __m512i n[4];
};

inline Nibbles expand(__m512i v, const Tables& t) {
  return {{_mm512_permutexvar_epi16(v, t.even),
           _mm512_permutexvar_epi16(_mm512_srli_epi16(v, 4), t.odd),
           _mm512_permutexvar_epi16(_mm512_srli_epi16(v, 8), t.even),
           _mm512_permutexvar_epi16(_mm512_srli_epi16(v, 12), t.odd)}};
}

// Which pair of the activations of a packed vector each nibble meets. A 4-bit vector holds two
// quads (low and high nibbles) of two pairs each, an 8-bit vector one quad.
template <int kBits>
constexpr std::int64_t pair_of(int nibble) {
  return kBits == 4 ? (nibble % 2) * 2 + nibble / 2 : nibble / 2;
}

}  // namespace
}  // namespace aquatint::kernels
