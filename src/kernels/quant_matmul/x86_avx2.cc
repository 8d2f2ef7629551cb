// AVX2: int8 activations through 16-bit products, bfloat16 ones through float32. 16 outputs are two
// vectors of 8. Correct and reasonably fast on any processor of the last decade; the processors
// Aquatint is tuned for run the AVX-512 variants.
#include <immintrin.h>

#include <cstddef>
#include <cstring>

#include "kernels/quant_matmul/quant_matmul_variants.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kPanel = 16;
constexpr std::int64_t kRows = 4;
constexpr std::int64_t kBlockColumns = 128;

std::int64_t padded_columns(const QuantMatmulArgs& a) {
  return a.group_size * a.groups;
}

std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

__m256i load(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

__m256 load_scales(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t g, unsigned half) {
  return _mm256_loadu_ps(a.scales + (panel * a.groups + g) * kPanel + half * 8);
}

// z of 8 outputs.
__m256i load_zeros(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t g, unsigned half) {
  if (a.zeros == nullptr) return _mm256_set1_epi32(a.symmetric_zero);
  const std::uint8_t* zeros = a.zeros + (panel * a.groups + g) * kPanel + half * 8;
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(zeros)));
}

// Stores 8 outputs of a row, or those of them that exist, with bias.
void finish(const QuantMatmulArgs& a, std::int64_t row, std::int64_t output, __m256 sum,
            float scale) {
  const std::int64_t count = least(8, a.outputs - output);
  if (count <= 0) return;
  float* y = a.y + row * a.ldy + output;
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
  const __m256 factor = _mm256_set1_ps(scale);
  const __m256 result =
      a.bias != nullptr ? _mm256_fmadd_ps(sum, factor, _mm256_maskload_ps(a.bias + output, mask))
                        : _mm256_mul_ps(sum, factor);
  _mm256_maskstore_ps(y, mask, result);
}

// ---- int8 activations.

__m256i broadcast_quad(const std::int8_t* x) {
  int quad = 0;
  std::memcpy(&quad, x, sizeof quad);
  return _mm256_set1_epi32(quad);
}

// Sums of 4 products per lane of unsigned weights and signed activations. Nibbles cannot saturate
// the 16-bit sums of vpmaddubsw (2 * 15 * 127), bytes can: those are widened first.
template <int kBits>
__m256i dot_quad(__m256i u, __m256i x) {
  if constexpr (kBits == 4) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(u, x), _mm256_set1_epi16(1));
  }
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(u, _mm256_set1_epi16(255)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(x, 8));
  return _mm256_add_epi32(even, odd);
}

// Quad `which` (0 or 1) of the 8 columns at w, for 8 outputs.
template <int kBits>
__m256i load_quad(const std::uint8_t* w, int which, unsigned half) {
  if constexpr (kBits == 8) return load(w + which * 64 + half * 32);
  const __m256i v = load(w + half * 32);
  const __m256i nibbles = which == 0 ? v : _mm256_srli_epi16(v, 4);
  return _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
}

template <int kBits, unsigned R>
void a8_tile(const QuantMatmulArgs& a, std::int64_t row, std::int64_t panel) {
  constexpr std::int64_t kStepBytes = 8 * kPanel * kBits / 8;
  const std::int64_t columns = padded_columns(a);
  const std::uint8_t* w = a.data + panel * columns * kPanel * kBits / 8;
  const std::int8_t* x = a.x8 + row * columns;
  __m256 sum[R][2] = {};
  for (std::int64_t g = 0; g < a.groups; ++g) {
    __m256i dot[R][2];
    for (unsigned r = 0; r < R; ++r) {
      const __m256i xsum = _mm256_set1_epi32(-a.sums8[(row + r) * a.groups + g]);
      for (unsigned h = 0; h < 2; ++h) {
        dot[r][h] = _mm256_mullo_epi32(load_zeros(a, panel, g, h), xsum);
      }
    }
    for (std::int64_t k = 0; k < a.group_size; k += 8) {
      for (int which = 0; which < 2; ++which) {
        const __m256i u[2] = {load_quad<kBits>(w, which, 0), load_quad<kBits>(w, which, 1)};
        for (unsigned r = 0; r < R; ++r) {
          const __m256i v = broadcast_quad(x + r * columns + which * 4);
          for (unsigned h = 0; h < 2; ++h) {
            dot[r][h] = _mm256_add_epi32(dot[r][h], dot_quad<kBits>(u[h], v));
          }
        }
      }
      w += kStepBytes;
      x += 8;
    }
    for (unsigned h = 0; h < 2; ++h) {
      const __m256 scales = load_scales(a, panel, g, h);
      for (unsigned r = 0; r < R; ++r) {
        sum[r][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[r][h]), scales, sum[r][h]);
      }
    }
  }
  for (unsigned r = 0; r < R; ++r) {
    for (unsigned h = 0; h < 2; ++h) {
      finish(a, row + r, panel * kPanel + h * 8, sum[r][h], a.x_scales[row + r]);
    }
  }
}

using A8TileFn = void (*)(const QuantMatmulArgs&, std::int64_t, std::int64_t);
constexpr A8TileFn kA8Tiles[2][kRows] = {
    {a8_tile<4, 1>, a8_tile<4, 2>, a8_tile<4, 3>, a8_tile<4, 4>},
    {a8_tile<8, 1>, a8_tile<8, 2>, a8_tile<8, 3>, a8_tile<8, 4>}};

// ---- bfloat16 activations.

// The 8 outputs of half a panel as centred float32, for 8 columns in the order of the activations
// (0, 2, 1, 3 of each quad): out[column][16].
void unpack_8_columns(const QuantMatmulArgs& a, const std::uint8_t* w, unsigned half, float* out) {
  constexpr int kColumn[4] = {0, 2, 1, 3};
  const __m256i centre = _mm256_set1_epi32(a.bits == 4 ? 8 : 128);
  const __m256i byte = _mm256_set1_epi32(255);
  for (int which = 0; which < 2; ++which) {
    const __m256i quad = a.bits == 4 ? load_quad<4>(w, which, half) : load_quad<8>(w, which, half);
    for (int i = 0; i < 4; ++i) {
      const __m256i u =
          _mm256_and_si256(_mm256_srl_epi32(quad, _mm_cvtsi32_si128(8 * kColumn[i])), byte);
      _mm256_store_ps(out + (which * 4 + i) * kPanel + half * 8,
                      _mm256_cvtepi32_ps(_mm256_sub_epi32(u, centre)));
    }
  }
}

void widen_rows(const std::uint16_t* x, std::int64_t ldx, std::int64_t rows, std::int64_t columns,
                float* out) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t k = 0; k < columns; k += 8) {
      const auto* p = reinterpret_cast<const __m128i*>(x + r * ldx + k);
      const __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16);
      _mm256_store_ps(out + r * kBlockColumns + k, _mm256_castsi256_ps(wide));
    }
  }
}

// Part of one group of one panel: `columns` columns from `column`.
struct Part {
  const float* weights;  // [columns][16]
  std::int64_t panel, group, column, columns;
};

// Adds scale * (dot + (centre - z) * xsum) of a part to the running sums, [rows][16].
template <unsigned R>
void a16_tile(const QuantMatmulArgs& a, const Part& part, std::int64_t row, float* sums) {
  alignas(32) float x[R * static_cast<std::size_t>(kBlockColumns)];
  const std::int64_t ldx = padded_columns(a);
  widen_rows(a.x16 + row * ldx + part.column, ldx, R, part.columns, x);
  const __m256i centre = _mm256_set1_epi32(a.bits == 4 ? 8 : 128);
  const bool starts = part.column == part.group * a.group_size;
  __m256 dot[R][2];
  for (unsigned h = 0; h < 2; ++h) {
    const __m256i z = load_zeros(a, part.panel, part.group, h);
    const __m256 offset = _mm256_cvtepi32_ps(_mm256_sub_epi32(centre, z));
    for (unsigned r = 0; r < R; ++r) {
      const float xsum = starts ? a.sums16[(row + r) * a.groups + part.group] : 0.0f;
      dot[r][h] = _mm256_mul_ps(offset, _mm256_set1_ps(xsum));
    }
  }
  for (std::int64_t k = 0; k < part.columns; ++k) {
    const __m256 w0 = _mm256_load_ps(part.weights + k * kPanel);
    const __m256 w1 = _mm256_load_ps(part.weights + k * kPanel + 8);
    for (unsigned r = 0; r < R; ++r) {
      const __m256 v = _mm256_broadcast_ss(x + r * kBlockColumns + k);
      dot[r][0] = _mm256_fmadd_ps(w0, v, dot[r][0]);
      dot[r][1] = _mm256_fmadd_ps(w1, v, dot[r][1]);
    }
  }
  for (unsigned h = 0; h < 2; ++h) {
    const __m256 scales = load_scales(a, part.panel, part.group, h);
    for (unsigned r = 0; r < R; ++r) {
      float* sum = sums + r * kPanel + h * 8;
      _mm256_store_ps(sum, _mm256_fmadd_ps(dot[r][h], scales, _mm256_load_ps(sum)));
    }
  }
}

using A16TileFn = void (*)(const QuantMatmulArgs&, const Part&, std::int64_t, float*);
constexpr A16TileFn kA16Tiles[kRows] = {a16_tile<1>, a16_tile<2>, a16_tile<3>, a16_tile<4>};

constexpr std::int64_t kRowChunk = 64;

// Up to kRowChunk rows of one panel.
void a16_panel(const QuantMatmulArgs& a, std::int64_t row, std::int64_t rows, std::int64_t panel) {
  alignas(32) float weights[kBlockColumns * kPanel];
  alignas(32) float sums[kRowChunk * kPanel] = {};
  const std::int64_t columns = padded_columns(a);
  const std::uint8_t* data = a.data + panel * columns * kPanel * a.bits / 8;
  Part part{weights, panel, 0, 0, 0};
  for (; part.column < columns; part.column += part.columns) {
    part.group = part.column / a.group_size;
    part.columns = least(kBlockColumns, (part.group + 1) * a.group_size - part.column);
    for (std::int64_t k = 0; k < part.columns; k += 8) {
      const std::uint8_t* w = data + (part.column + k) * kPanel * a.bits / 8;
      unpack_8_columns(a, w, 0, weights + k * kPanel);
      unpack_8_columns(a, w, 1, weights + k * kPanel);
    }
    for (std::int64_t r = 0; r < rows; r += kRows) {
      kA16Tiles[least(kRows, rows - r) - 1](a, part, row + r, sums + r * kPanel);
    }
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (unsigned h = 0; h < 2; ++h) {
      finish(a, row + r, panel * kPanel + h * 8, _mm256_load_ps(sums + r * kPanel + h * 8), 1.0f);
    }
  }
}

}  // namespace

void quant_matmul_a8_avx2(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
                          std::int64_t panel_begin, std::int64_t panel_end) noexcept {
  for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
    for (std::int64_t row = row_begin; row < row_end; row += kRows) {
      kA8Tiles[a.bits == 8][least(kRows, row_end - row) - 1](a, row, panel);
    }
  }
}

void quant_matmul_a16_avx2(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
                           std::int64_t panel_begin, std::int64_t panel_end) noexcept {
  for (std::int64_t row = row_begin; row < row_end; row += kRowChunk) {
    for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
      a16_panel(a, row, least(kRowChunk, row_end - row), panel);
    }
  }
}

}  // namespace aquatint::kernels
