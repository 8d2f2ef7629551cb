// bfloat16 activations on AVX-512 without its bfloat16 products: weights become centred float32 in
// L1, one block of one panel at a time, and rows are multiplied in register tiles of 8.
#include <immintrin.h>

#include <cstddef>

#include "kernels/quant_matmul/quant_matmul_variants.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kPanel = 16;
// GCC 12 warns of an uninitialized register in unmasked forms of some intrinsics; all lanes masked
// in is the same instruction.
constexpr __mmask16 kAll = 0xffff;
constexpr std::int64_t kRows = 8;
constexpr std::int64_t kBlockColumns = 128;
constexpr std::int64_t kRowChunk = 64;

std::int64_t padded_columns(const QuantMatmulArgs& a) {
  return a.group_size * a.groups;
}

std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

__m512i load_zeros(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t g) {
  if (a.zeros == nullptr) return _mm512_set1_epi32(a.symmetric_zero);
  const std::uint8_t* zeros = a.zeros + (panel * a.groups + g) * kPanel;
  return _mm512_maskz_cvtepu8_epi32(kAll, _mm_loadu_si128(reinterpret_cast<const __m128i*>(zeros)));
}

void unpack_quad(__m512i quad, __m512i centre, float* out) {
  constexpr unsigned kShift[4] = {0, 16, 8, 24};  // the order of the activations: 0, 2, 1, 3
  for (int i = 0; i < 4; ++i) {
    const __m512i u =
        _mm512_and_si512(_mm512_maskz_srli_epi32(kAll, quad, kShift[i]), _mm512_set1_epi32(255));
    _mm512_store_ps(out + i * kPanel, _mm512_maskz_cvtepi32_ps(kAll, _mm512_sub_epi32(u, centre)));
  }
}

// `columns` columns of a panel as centred float32, out[column][16].
void unpack(const QuantMatmulArgs& a, const std::uint8_t* w, std::int64_t columns, float* out) {
  const __m512i centre = _mm512_set1_epi32(a.bits == 4 ? 8 : 128);
  const __m512i low = _mm512_set1_epi8(15);
  for (std::int64_t k = 0; k < columns; k += 8) {
    const __m512i v = _mm512_loadu_si512(w);
    if (a.bits == 4) {
      unpack_quad(_mm512_and_si512(v, low), centre, out + k * kPanel);
      unpack_quad(_mm512_and_si512(_mm512_srli_epi16(v, 4), low), centre, out + (k + 4) * kPanel);
      w += 64;
    } else {
      unpack_quad(v, centre, out + k * kPanel);
      unpack_quad(_mm512_loadu_si512(w + 64), centre, out + (k + 4) * kPanel);
      w += 128;
    }
  }
}

// Part of one group of one panel: `columns` columns from `column`.
struct Part {
  const float* weights;  // [columns][16]
  std::int64_t panel, group, column, columns;
};

void widen_rows(const QuantMatmulArgs& a, const Part& part, std::int64_t row, std::int64_t rows,
                float* out) {
  const std::int64_t ldx = padded_columns(a);
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::uint16_t* x = a.x16 + (row + r) * ldx + part.column;
    for (std::int64_t k = 0; k < part.columns; k += 8) {
      const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + k));
      const __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16);
      _mm256_store_ps(out + r * kBlockColumns + k, _mm256_castsi256_ps(wide));
    }
  }
}

// Adds scale * (dot + (centre - z) * xsum) of a part to the running sums, [rows][16].
template <unsigned R>
void tile(const QuantMatmulArgs& a, const Part& part, std::int64_t row, float* sums) {
  alignas(64) float x[R * static_cast<std::size_t>(kBlockColumns)];
  widen_rows(a, part, row, R, x);
  const __m512i centre = _mm512_set1_epi32(a.bits == 4 ? 8 : 128);
  const __m512 offset = _mm512_maskz_cvtepi32_ps(
      kAll, _mm512_sub_epi32(centre, load_zeros(a, part.panel, part.group)));
  const bool starts = part.column == part.group * a.group_size;
  __m512 dot[R];
  for (unsigned r = 0; r < R; ++r) {
    const float xsum = starts ? a.sums16[(row + r) * a.groups + part.group] : 0.0f;
    dot[r] = _mm512_mul_ps(offset, _mm512_set1_ps(xsum));
  }
  for (std::int64_t k = 0; k < part.columns; ++k) {
    const __m512 w = _mm512_load_ps(part.weights + k * kPanel);
    for (unsigned r = 0; r < R; ++r) {
      dot[r] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[r * kBlockColumns + k]), dot[r]);
    }
  }
  const __m512 scales = _mm512_loadu_ps(a.scales + (part.panel * a.groups + part.group) * kPanel);
  for (unsigned r = 0; r < R; ++r) {
    float* sum = sums + r * kPanel;
    _mm512_store_ps(sum, _mm512_fmadd_ps(dot[r], scales, _mm512_load_ps(sum)));
  }
}

using TileFn = void (*)(const QuantMatmulArgs&, const Part&, std::int64_t, float*);
constexpr TileFn kTiles[kRows] = {tile<1>, tile<2>, tile<3>, tile<4>,
                                  tile<5>, tile<6>, tile<7>, tile<8>};

void store_rows(const QuantMatmulArgs& a, std::int64_t row, std::int64_t rows, std::int64_t panel,
                const float* sums) {
  const std::int64_t left = a.outputs - panel * kPanel;
  const __mmask16 mask =
      left >= kPanel ? __mmask16{0xffff} : static_cast<__mmask16>((1u << left) - 1u);
  __m512 bias = _mm512_setzero_ps();
  if (a.bias != nullptr) bias = _mm512_maskz_loadu_ps(mask, a.bias + panel * kPanel);
  for (std::int64_t r = 0; r < rows; ++r) {
    const __m512 sum = _mm512_load_ps(sums + r * kPanel);
    _mm512_mask_storeu_ps(a.y + (row + r) * a.ldy + panel * kPanel, mask, _mm512_add_ps(sum, bias));
  }
}

// Up to kRowChunk rows of one panel.
void run_panel(const QuantMatmulArgs& a, std::int64_t row, std::int64_t rows, std::int64_t panel) {
  alignas(64) float weights[kBlockColumns * kPanel];
  alignas(64) float sums[kRowChunk * kPanel] = {};
  const std::int64_t columns = padded_columns(a);
  const std::uint8_t* data = a.data + panel * columns * kPanel * a.bits / 8;
  Part part{weights, panel, 0, 0, 0};
  for (; part.column < columns; part.column += part.columns) {
    part.group = part.column / a.group_size;
    part.columns = least(kBlockColumns, (part.group + 1) * a.group_size - part.column);
    unpack(a, data + part.column * kPanel * a.bits / 8, part.columns, weights);
    for (std::int64_t r = 0; r < rows; r += kRows) {
      kTiles[least(kRows, rows - r) - 1](a, part, row + r, sums + r * kPanel);
    }
  }
  store_rows(a, row, rows, panel, sums);
}

}  // namespace

void quant_matmul_a16_avx512(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
                             std::int64_t panel_begin, std::int64_t panel_end) noexcept {
  for (std::int64_t row = row_begin; row < row_end; row += kRowChunk) {
    for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
      run_panel(a, row, least(kRowChunk, row_end - row), panel);
    }
  }
}

}  // namespace aquatint::kernels
