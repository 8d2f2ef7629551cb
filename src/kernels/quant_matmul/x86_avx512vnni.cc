// int8 activations on AVX-512 VNNI. One vector of packed weights is 16 outputs by 4 columns, which
// vpdpbusd multiplies with 4 broadcast activations. Up to kStreamRows rows read the packed bytes as
// one linear stream (decode: memory bound). More rows work on strips of 4 panels, one block of
// columns that stays in L1 at a time, in register tiles of 3 rows (groups: integer and float sums
// both in registers) or 6 rows (one scale per output: integer sums only).
#include <immintrin.h>

#include <cstring>

#include "kernels/quant_matmul/quant_matmul_variants.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kPanel = 16;
// GCC 12 warns of an uninitialized register in unmasked forms of some intrinsics; all lanes masked
// in is the same instruction.
constexpr __mmask16 kAll = 0xffff;
constexpr std::int64_t kVector = 64;
constexpr std::int64_t kStreamRows = 4;
constexpr std::int64_t kStrip = 4;
constexpr std::int64_t kBlockColumns = 512;  // times 4 panels of 16 outputs: 32 KiB of L1
constexpr std::int64_t kPrefetchBytes = 4096;

std::int64_t padded_columns(const QuantMatmulArgs& a) {
  return a.group_size * a.groups;
}

std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

// Four neighbouring activations of one row in every lane.
__m512i broadcast_quad(const std::int8_t* x) {
  int quad = 0;
  std::memcpy(&quad, x, sizeof quad);
  return _mm512_set1_epi32(quad);
}

// Outputs of `panel` that exist.
__mmask16 output_mask(const QuantMatmulArgs& a, std::int64_t panel) {
  const std::int64_t left = a.outputs - panel * kPanel;
  return left >= kPanel ? __mmask16{0xffff} : static_cast<__mmask16>((1u << left) - 1u);
}

// -z * xsum for the 16 outputs of a panel: what the integer sum of a group starts from.
__m512i start(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t row, std::int64_t g) {
  const std::int32_t sum = a.sums8[row * a.groups + g];
  if (a.zeros == nullptr) return _mm512_set1_epi32(-a.symmetric_zero * sum);
  const auto* z = reinterpret_cast<const __m128i*>(a.zeros + (panel * a.groups + g) * kPanel);
  return _mm512_mullo_epi32(_mm512_maskz_cvtepu8_epi32(kAll, _mm_loadu_si128(z)),
                            _mm512_set1_epi32(-sum));
}

__m512 load_scales(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t g) {
  return _mm512_loadu_ps(a.scales + (panel * a.groups + g) * kPanel);
}

void finish(const QuantMatmulArgs& a, std::int64_t row, std::int64_t panel, __m512 sum) {
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

Quads split_nibbles(__m512i v) {
  const __m512i low = _mm512_set1_epi8(15);
  return {_mm512_and_si512(v, low), _mm512_and_si512(_mm512_srli_epi16(v, 4), low)};
}

template <int kBits>
Quads load_quads(const std::uint8_t* w) {
  if constexpr (kBits == 4) return split_nibbles(_mm512_loadu_si512(w));
  return {_mm512_loadu_si512(w), _mm512_loadu_si512(w + kVector)};
}

// ---- Few rows: one panel after the other, straight through the packed bytes.

template <int kBits, unsigned R>
void stream_panel(const QuantMatmulArgs& a, std::int64_t row, std::int64_t panel) {
  // One row has too few sums to cover the latency of vpdpbusd: it takes two steps at a time.
  constexpr unsigned kSteps = R == 1 ? 2 : 1;
  constexpr std::int64_t kStepBytes = 8 * kPanel * kBits / 8;
  const std::int64_t columns = padded_columns(a);
  const std::uint8_t* w = a.data + panel * columns * kPanel * kBits / 8;
  const std::int8_t* x = a.x8 + row * columns;
  const std::int64_t steps = a.group_size / 8;
  __m512 sum[R] = {};
  for (std::int64_t g = 0; g < a.groups; ++g) {
    __m512i dot[R][kSteps][2];
    for (unsigned r = 0; r < R; ++r) {
      for (unsigned s = 0; s < kSteps; ++s) dot[r][s][0] = dot[r][s][1] = _mm512_setzero_si512();
      dot[r][0][0] = start(a, panel, row + r, g);
    }
    std::int64_t i = 0;
    for (; i + kSteps <= steps; i += kSteps) {
      for (unsigned s = 0; s < kSteps; ++s) {
        for (std::int64_t b = 0; b < kStepBytes; b += kVector) {
          _mm_prefetch(reinterpret_cast<const char*>(w) + kPrefetchBytes + b, _MM_HINT_T0);
        }
        const Quads q = load_quads<kBits>(w);
        for (unsigned r = 0; r < R; ++r) {
          const std::int8_t* xr = x + r * columns;
          dot[r][s][0] = _mm512_dpbusd_epi32(dot[r][s][0], q.first, broadcast_quad(xr));
          dot[r][s][1] = _mm512_dpbusd_epi32(dot[r][s][1], q.second, broadcast_quad(xr + 4));
        }
        w += kStepBytes;
        x += 8;
      }
    }
    if (kSteps == 2 && i < steps) {
      const Quads q = load_quads<kBits>(w);
      for (unsigned r = 0; r < R; ++r) {
        const std::int8_t* xr = x + r * columns;
        dot[r][0][0] = _mm512_dpbusd_epi32(dot[r][0][0], q.first, broadcast_quad(xr));
        dot[r][0][1] = _mm512_dpbusd_epi32(dot[r][0][1], q.second, broadcast_quad(xr + 4));
      }
      w += kStepBytes;
      x += 8;
    }
    const __m512 scales = load_scales(a, panel, g);
    for (unsigned r = 0; r < R; ++r) {
      __m512i total = _mm512_add_epi32(dot[r][0][0], dot[r][0][1]);
      if constexpr (kSteps == 2) {
        total = _mm512_add_epi32(total, _mm512_add_epi32(dot[r][1][0], dot[r][1][1]));
      }
      sum[r] = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(kAll, total), scales, sum[r]);
    }
  }
  for (unsigned r = 0; r < R; ++r) finish(a, row + r, panel, sum[r]);
}

template <int kBits>
void stream(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
            std::int64_t panel_begin, std::int64_t panel_end) {
  for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
    for (std::int64_t row = row_begin; row < row_end; row += kStreamRows) {
      switch (least(row_end - row, kStreamRows)) {
        case 1:
          stream_panel<kBits, 1>(a, row, panel);
          break;
        case 2:
          stream_panel<kBits, 2>(a, row, panel);
          break;
        case 3:
          stream_panel<kBits, 3>(a, row, panel);
          break;
        default:
          stream_panel<kBits, 4>(a, row, panel);
          break;
      }
    }
  }
}

// ---- Many rows.

// A block of columns of up to kStrip panels as unsigned bytes, [panel][quad][64].
struct Block {
  const std::uint8_t* weights;
  std::int64_t panel_stride;  // bytes
  std::int64_t panel;         // first panel
  std::int64_t column;        // first column
  std::int64_t quads;         // of one group, or of the block when a group spans blocks
  std::int64_t group, groups;
  bool first, last;  // of the columns
};

template <unsigned R, unsigned P>
void multiply(const Block& b, const std::uint8_t* w, const std::int8_t* x, std::int64_t ldx,
              __m512i (&dot)[R][P]) {
  for (std::int64_t i = 0; i < b.quads; ++i) {
    __m512i u[P];
    for (unsigned p = 0; p < P; ++p)
      u[p] = _mm512_loadu_si512(w + i * kVector + p * b.panel_stride);
    for (unsigned r = 0; r < R; ++r) {
      const __m512i v = broadcast_quad(x + i * 4 + r * ldx);
      for (unsigned p = 0; p < P; ++p) dot[r][p] = _mm512_dpbusd_epi32(dot[r][p], u[p], v);
    }
  }
}

// R rows of a block of whole groups; between blocks the float sums wait in y.
template <unsigned R, unsigned P>
void grouped_tile(const QuantMatmulArgs& a, const Block& b, std::int64_t row) {
  const std::int64_t ldx = padded_columns(a);
  const std::int8_t* x = a.x8 + row * ldx + b.column;
  const std::uint8_t* w = b.weights;
  float* y = a.y + row * a.ldy + b.panel * kPanel;
  __m512 sum[R][P];
  for (unsigned r = 0; r < R; ++r) {
    for (unsigned p = 0; p < P; ++p) {
      const __mmask16 mask = b.first ? __mmask16{0} : output_mask(a, b.panel + p);
      sum[r][p] = _mm512_maskz_loadu_ps(mask, y + r * a.ldy + p * kPanel);
    }
  }
  for (std::int64_t g = b.group; g < b.group + b.groups; ++g) {
    __m512i dot[R][P];
    for (unsigned r = 0; r < R; ++r) {
      for (unsigned p = 0; p < P; ++p) dot[r][p] = start(a, b.panel + p, row + r, g);
    }
    multiply(b, w, x, ldx, dot);
    w += b.quads * kVector;
    x += b.quads * 4;
    for (unsigned p = 0; p < P; ++p) {
      const __m512 scales = load_scales(a, b.panel + p, g);
      for (unsigned r = 0; r < R; ++r) {
        sum[r][p] = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(kAll, dot[r][p]), scales, sum[r][p]);
      }
    }
  }
  for (unsigned r = 0; r < R; ++r) {
    for (unsigned p = 0; p < P; ++p) {
      if (b.last) {
        finish(a, row + r, b.panel + p, sum[r][p]);
      } else {
        _mm512_mask_storeu_ps(y + r * a.ldy + p * kPanel, output_mask(a, b.panel + p), sum[r][p]);
      }
    }
  }
}

// R rows of a block when each output has one scale; between blocks the integer sums wait in y.
template <unsigned R, unsigned P>
void single_tile(const QuantMatmulArgs& a, const Block& b, std::int64_t row) {
  const std::int64_t ldx = padded_columns(a);
  float* y = a.y + row * a.ldy + b.panel * kPanel;
  __m512i dot[R][P];
  for (unsigned r = 0; r < R; ++r) {
    for (unsigned p = 0; p < P; ++p) {
      const std::int64_t panel = b.panel + p;
      dot[r][p] = b.first
                      ? start(a, panel, row + r, 0)
                      : _mm512_maskz_loadu_epi32(output_mask(a, panel), y + r * a.ldy + p * kPanel);
    }
  }
  multiply(b, b.weights, a.x8 + row * ldx + b.column, ldx, dot);
  for (unsigned p = 0; p < P; ++p) {
    const __m512 scales = load_scales(a, b.panel + p, 0);
    for (unsigned r = 0; r < R; ++r) {
      if (b.last) {
        const __m512 product =
            _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(kAll, dot[r][p]), scales, _mm512_setzero_ps());
        finish(a, row + r, b.panel + p, product);
      } else {
        _mm512_mask_storeu_epi32(y + r * a.ldy + p * kPanel, output_mask(a, b.panel + p),
                                 dot[r][p]);
      }
    }
  }
}

using TileFn = void (*)(const QuantMatmulArgs&, const Block&, std::int64_t);
constexpr std::int64_t kGroupedRows = 3;
constexpr std::int64_t kSingleRows = 6;
// [panels - 1][rows - 1].
constexpr TileFn kGroupedTiles[kStrip][kGroupedRows] = {
    {grouped_tile<1, 1>, grouped_tile<2, 1>, grouped_tile<3, 1>},
    {grouped_tile<1, 2>, grouped_tile<2, 2>, grouped_tile<3, 2>},
    {grouped_tile<1, 3>, grouped_tile<2, 3>, grouped_tile<3, 3>},
    {grouped_tile<1, 4>, grouped_tile<2, 4>, grouped_tile<3, 4>}};
constexpr TileFn kSingleTiles[kStrip][kSingleRows] = {
    {single_tile<1, 1>, single_tile<2, 1>, single_tile<3, 1>, single_tile<4, 1>, single_tile<5, 1>,
     single_tile<6, 1>},
    {single_tile<1, 2>, single_tile<2, 2>, single_tile<3, 2>, single_tile<4, 2>, single_tile<5, 2>,
     single_tile<6, 2>},
    {single_tile<1, 3>, single_tile<2, 3>, single_tile<3, 3>, single_tile<4, 3>, single_tile<5, 3>,
     single_tile<6, 3>},
    {single_tile<1, 4>, single_tile<2, 4>, single_tile<3, 4>, single_tile<4, 4>, single_tile<5, 4>,
     single_tile<6, 4>}};

void unpack_nibbles(const std::uint8_t* packed, std::int64_t columns, std::uint8_t* bytes) {
  for (std::int64_t i = 0; i < columns / 8; ++i) {
    const Quads q = split_nibbles(_mm512_loadu_si512(packed + i * kVector));
    _mm512_store_si512(bytes + i * 2 * kVector, q.first);
    _mm512_store_si512(bytes + (i * 2 + 1) * kVector, q.second);
  }
}

// All rows of one block of `columns` columns of `panels` panels.
void run_block(const QuantMatmulArgs& a, Block b, std::int64_t panels, std::int64_t columns,
               std::int64_t row_begin, std::int64_t row_end) {
  alignas(64) std::uint8_t scratch[kStrip * kPanel * kBlockColumns];
  const std::int64_t packed_stride = padded_columns(a) * kPanel * a.bits / 8;
  const std::uint8_t* packed = a.data + b.panel * packed_stride + b.column * kPanel * a.bits / 8;
  if (a.bits == 4) {
    b.weights = scratch;
    b.panel_stride = columns * kPanel;
    for (std::int64_t p = 0; p < panels; ++p) {
      unpack_nibbles(packed + p * packed_stride, columns, scratch + p * b.panel_stride);
    }
  } else {
    b.weights = packed;
    b.panel_stride = packed_stride;
  }
  const bool single = a.groups == 1;
  const std::int64_t tile_rows = single ? kSingleRows : kGroupedRows;
  const TileFn* tiles = single ? kSingleTiles[panels - 1] : kGroupedTiles[panels - 1];
  for (std::int64_t row = row_begin; row < row_end; row += tile_rows) {
    tiles[least(tile_rows, row_end - row) - 1](a, b, row);
  }
}

void run_strip(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t panels,
               std::int64_t row_begin, std::int64_t row_end) {
  const std::int64_t columns = padded_columns(a);
  const bool single = a.groups == 1;
  const std::int64_t step = single ? kBlockColumns : kBlockColumns / a.group_size * a.group_size;
  for (std::int64_t column = 0; column < columns; column += step) {
    const std::int64_t width = least(step, columns - column);
    Block b{};
    b.panel = panel;
    b.column = column;
    b.quads = (single ? width : a.group_size) / 4;
    b.group = single ? 0 : column / a.group_size;
    b.groups = single ? 1 : width / a.group_size;
    b.first = column == 0;
    b.last = column + width == columns;
    run_block(a, b, panels, width, row_begin, row_end);
  }
}

}  // namespace

void quant_matmul_a8_avx512vnni(const QuantMatmulArgs& a, std::int64_t row_begin,
                                std::int64_t row_end, std::int64_t panel_begin,
                                std::int64_t panel_end) noexcept {
  // Several groups that each exceed a block do not fit the tiles' scheme; they are rare.
  const bool huge_groups = a.groups > 1 && a.group_size > kBlockColumns;
  if (a.rows <= kStreamRows || huge_groups) {
    if (a.bits == 4) {
      stream<4>(a, row_begin, row_end, panel_begin, panel_end);
    } else {
      stream<8>(a, row_begin, row_end, panel_begin, panel_end);
    }
    return;
  }
  for (std::int64_t panel = panel_begin; panel < panel_end; panel += kStrip) {
    run_strip(a, panel, least(kStrip, panel_end - panel), row_begin, row_end);
  }
}

}  // namespace aquatint::kernels
