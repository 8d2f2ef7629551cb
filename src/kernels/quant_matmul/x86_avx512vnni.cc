// int8 activations on AVX-512 VNNI. One vector of packed weights is 16 outputs by 4 columns, which
// vpdpbusd multiplies with 4 broadcast activations. Up to kStreamRows rows read the packed bytes as
// one linear stream (decode: memory bound). More rows work on strips of 4 panels, one block of
// columns that stays in L1 at a time, in register tiles of 3 rows (groups: integer and float sums
// both in registers) or 6 rows (one scale per output: integer sums only).
#include "kernels/quant_matmul/x86_avx512vnni.h"

namespace aquatint::kernels {
namespace {

// Panels of a register tile, and its rows when outputs have one scale or several.
constexpr std::int64_t kStrip = 4;
constexpr std::int64_t kSingleRows = 6;
constexpr std::int64_t kGroupedRows = 3;
// Columns of a block. A tile of 6 rows reads weights slowly enough to have them in L2; one of 3
// rows does not, its block of 4 panels (32 KiB) belongs in L1.
constexpr std::int64_t kSingleColumns = 2048;
constexpr std::int64_t kGroupedColumns = 512;
// Rows whose unfinished sums wait between blocks of columns, in L2: [row][panel][16].
constexpr std::int64_t kChunkRows = 240;
constexpr std::int64_t kSumStride = kStrip * kPanel;

// Fetches the cache lines that R rows of a tile will write, each in another page.
template <unsigned R>
void prefetch_outputs(const QuantMatmulArgs& a, std::int64_t row, std::int64_t panel) {
  const std::int64_t left = a.outputs - panel * kPanel;
  const float* y = a.y + row * a.ldy + panel * kPanel;
  for (unsigned r = 0; r < R; ++r) {
    for (std::int64_t n = 0; n < least(kStrip * kPanel, left); n += kPanel) {
      __builtin_prefetch(y + r * a.ldy + n, 1);
    }
  }
}

std::int64_t packed_stride(const QuantMatmulArgs& a) {
  return padded_columns(a) * kPanel * a.bits / 8;
}

// Writes columns of a panel as unsigned bytes, quads `stride` bytes apart.
void unpack(int bits, const std::uint8_t* packed, std::int64_t columns, std::int64_t stride,
            std::uint8_t* bytes) {
  for (std::int64_t k = 0; k < columns; k += 8) {
    const Quads q = bits == 4 ? load_quads<4>(packed) : load_quads<8>(packed);
    _mm512_store_si512(bytes, q.first);
    _mm512_store_si512(bytes + stride, q.second);
    packed += bits == 4 ? kVector : 2 * kVector;
    bytes += 2 * stride;
  }
}

// Columns of up to kStrip panels whose outputs have one scale each, as unsigned bytes
// [panel][quad][64].
struct SingleBlock {
  const std::uint8_t* weights;
  std::int64_t panel_stride;  // bytes
  std::int64_t panel;         // first panel
  std::int64_t column;        // first column
  std::int64_t quads;
  bool first, last;  // of the columns
};

// R rows of a block; between blocks the integer sums wait in `sums`.
template <unsigned R, unsigned P>
void single_tile(const QuantMatmulArgs& a, const SingleBlock& b, std::int64_t row,
                 std::int32_t* sums) {
  const std::int64_t ldx = padded_columns(a);
  __m512i dot[R][P];
#pragma GCC unroll 8
  for (unsigned r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (unsigned p = 0; p < P; ++p) {
      const std::int64_t panel = b.panel + p;
      dot[r][p] = b.first ? start(a, panel, row + r, 0)
                          : _mm512_load_si512(sums + r * kSumStride + p * kPanel);
    }
  }
  if (b.last) prefetch_outputs<R>(a, row, b.panel);
  const std::uint8_t* w = b.weights;
  const std::int8_t* x = a.x8 + row * ldx + b.column;
  for (std::int64_t i = 0; i < b.quads; ++i) {
    __m512i u[P];
#pragma GCC unroll 8
    for (unsigned p = 0; p < P; ++p) u[p] = load_once(w + p * b.panel_stride);
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
      const __m512i v = broadcast_quad(x + r * ldx);
#pragma GCC unroll 8
      for (unsigned p = 0; p < P; ++p) add_dot(dot[r][p], u[p], v);
    }
    w += kVector;
    x += 4;
  }
#pragma GCC unroll 8
  for (unsigned p = 0; p < P; ++p) {
    const __m512 scales = load_scales(a, b.panel + p, 0);
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
      if (b.last) {
        const __m512 value = _mm512_maskz_cvtepi32_ps(kAll, dot[r][p]);
        finish(a, row + r, b.panel + p, _mm512_fmadd_ps(value, scales, _mm512_setzero_ps()));
      } else {
        _mm512_store_si512(sums + r * kSumStride + p * kPanel, dot[r][p]);
      }
    }
  }
}

// Whole groups of up to kStrip panels, laid out in the order a tile reads them, so that its loop
// over groups needs few addresses.
struct GroupedBlock {
  alignas(64) std::uint8_t weights[kStrip * kPanel * kGroupedColumns];  // [group][quad][panel][64]
  alignas(64) float scales[kStrip * kPanel * kGroupedColumns / 8];      // [group][panel][16]
  alignas(
      64) std::int32_t zeros[kStrip * kPanel * kGroupedColumns / 8];  // likewise, if not symmetric
  std::int64_t panel;                                                 // first panel
  std::int64_t column;                                                // first column
  std::int64_t group, groups;
  bool first, last;  // of the columns
};

// R rows of a block; between blocks the float sums wait in `sums`.
template <unsigned R, unsigned P, bool kSymmetric>
void grouped_tile(const QuantMatmulArgs& a, const GroupedBlock& b, std::int64_t row, float* sums) {
  const std::int64_t ldx = padded_columns(a);
  __m512 sum[R][P];
#pragma GCC unroll 8
  for (unsigned r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (unsigned p = 0; p < P; ++p) {
      sum[r][p] =
          b.first ? _mm512_setzero_ps() : _mm512_load_ps(sums + r * kSumStride + p * kPanel);
    }
  }
  if (b.last) prefetch_outputs<R>(a, row, b.panel);
  const std::int8_t* x = a.x8 + row * ldx + b.column;
  const std::int32_t* xsum = a.sums8 + row * a.groups + b.group;
  const std::uint8_t* w = b.weights;
  const float* s = b.scales;
  const std::int32_t* z = b.zeros;
  const int negative_zero = -a.symmetric_zero;
  for (std::int64_t g = 0; g < b.groups; ++g) {
    __m512i dot[R][P];
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
      const int sum_x = xsum[r * a.groups + g];
      const __m512i start_x = _mm512_set1_epi32(kSymmetric ? negative_zero * sum_x : -sum_x);
#pragma GCC unroll 8
      for (unsigned p = 0; p < P; ++p) {
        dot[r][p] =
            kSymmetric ? start_x : _mm512_mullo_epi32(_mm512_load_si512(z + p * kPanel), start_x);
      }
    }
    for (const std::uint8_t* end = w + a.group_size / 4 * P * kVector; w != end;) {
      __m512i u[P];
#pragma GCC unroll 8
      for (unsigned p = 0; p < P; ++p) u[p] = load_once(w + p * kVector);
#pragma GCC unroll 8
      for (unsigned r = 0; r < R; ++r) {
        const __m512i v = broadcast_quad(x + r * ldx);
#pragma GCC unroll 8
        for (unsigned p = 0; p < P; ++p) add_dot(dot[r][p], u[p], v);
      }
      w += P * kVector;
      x += 4;
    }
#pragma GCC unroll 8
    for (unsigned p = 0; p < P; ++p) {
      const __m512 scales = _mm512_load_ps(s + p * kPanel);
#pragma GCC unroll 8
      for (unsigned r = 0; r < R; ++r) {
        const __m512 value = _mm512_maskz_cvtepi32_ps(kAll, dot[r][p]);
        sum[r][p] = _mm512_fmadd_ps(value, scales, sum[r][p]);
      }
    }
    s += P * kPanel;
    z += P * kPanel;
  }
#pragma GCC unroll 8
  for (unsigned r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (unsigned p = 0; p < P; ++p) {
      if (b.last) {
        finish(a, row + r, b.panel + p, sum[r][p]);
      } else {
        _mm512_store_ps(sums + r * kSumStride + p * kPanel, sum[r][p]);
      }
    }
  }
}

using SingleFn = void (*)(const QuantMatmulArgs&, const SingleBlock&, std::int64_t,
                          std::int32_t* sums);
using GroupedFn = void (*)(const QuantMatmulArgs&, const GroupedBlock&, std::int64_t, float* sums);

// [panels - 1][rows - 1].
constexpr SingleFn kSingleTiles[kStrip][kSingleRows] = {
    {single_tile<1, 1>, single_tile<2, 1>, single_tile<3, 1>, single_tile<4, 1>, single_tile<5, 1>,
     single_tile<6, 1>},
    {single_tile<1, 2>, single_tile<2, 2>, single_tile<3, 2>, single_tile<4, 2>, single_tile<5, 2>,
     single_tile<6, 2>},
    {single_tile<1, 3>, single_tile<2, 3>, single_tile<3, 3>, single_tile<4, 3>, single_tile<5, 3>,
     single_tile<6, 3>},
    {single_tile<1, 4>, single_tile<2, 4>, single_tile<3, 4>, single_tile<4, 4>, single_tile<5, 4>,
     single_tile<6, 4>}};
// [symmetric][panels - 1][rows - 1].
template <bool kSymmetric>
constexpr GroupedFn kGroupedTiles[kStrip][kGroupedRows] = {
    {grouped_tile<1, 1, kSymmetric>, grouped_tile<2, 1, kSymmetric>,
     grouped_tile<3, 1, kSymmetric>},
    {grouped_tile<1, 2, kSymmetric>, grouped_tile<2, 2, kSymmetric>,
     grouped_tile<3, 2, kSymmetric>},
    {grouped_tile<1, 3, kSymmetric>, grouped_tile<2, 3, kSymmetric>,
     grouped_tile<3, 3, kSymmetric>},
    {grouped_tile<1, 4, kSymmetric>, grouped_tile<2, 4, kSymmetric>,
     grouped_tile<3, 4, kSymmetric>}};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// Brings the packed bytes of the next strip into L2 while this one is multiplied, a slice per tile.
// Only for groups: tiles that stream their weights from L2 are slowed by it more than they gain.
class NextStrip {
 public:
  NextStrip(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t panels, std::int64_t rows)
      : at_(a.data + (panel + panels) * packed_stride(a)) {
    const std::int64_t left = (a.outputs + kPanel - 1) / kPanel - panel - panels;
    lines_ = least(kStrip, left) * packed_stride(a) / kVector;
    const std::int64_t tiles =
        ceil_div(rows, kGroupedRows) * ceil_div(padded_columns(a), kGroupedColumns);
    slice_ = ceil_div(lines_, tiles);
  }
  void prefetch_slice() {
    for (std::int64_t i = least(slice_, lines_); i > 0; --i) {
      _mm_prefetch(reinterpret_cast<const char*>(at_), _MM_HINT_T1);
      at_ += kVector;
      --lines_;
    }
  }

 private:
  const std::uint8_t* at_;
  std::int64_t lines_, slice_;
};

// A strip of panels with one scale per output. Bytes are read where they are, nibbles unpacked
// first.
void run_single(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t panels,
                std::int64_t row_begin, std::int64_t row_end) {
  alignas(64) std::int32_t sums[kChunkRows * kSumStride];
  alignas(64) std::uint8_t scratch[kStrip * kPanel * kSingleColumns];
  const std::int64_t columns = padded_columns(a);
  SingleBlock b{};
  b.panel = panel;
  for (; b.column < columns; b.column += b.quads * 4) {
    const std::int64_t width = least(kSingleColumns, columns - b.column);
    b.quads = width / 4;
    b.first = b.column == 0;
    b.last = b.column + width == columns;
    b.weights = a.data + panel * packed_stride(a) + b.column * kPanel * a.bits / 8;
    b.panel_stride = packed_stride(a);
    if (a.bits == 4) {
      for (std::int64_t p = 0; p < panels; ++p) {
        unpack(4, b.weights + p * b.panel_stride, width, kVector, scratch + p * width * kPanel);
      }
      b.weights = scratch;
      b.panel_stride = width * kPanel;
    }
    for (std::int64_t row = row_begin; row < row_end; row += kSingleRows) {
      kSingleTiles[panels - 1][least(kSingleRows, row_end - row) - 1](
          a, b, row, sums + (row - row_begin) * kSumStride);
    }
  }
}

// Fills a block with b.groups groups of `panels` panels.
void load_block(const QuantMatmulArgs& a, std::int64_t panels, GroupedBlock& b) {
  const std::int64_t stride = panels * kVector;
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::uint8_t* packed =
        a.data + (b.panel + p) * packed_stride(a) + b.column * kPanel * a.bits / 8;
    unpack(a.bits, packed, b.groups * a.group_size, stride, b.weights + p * kVector);
    for (std::int64_t g = 0; g < b.groups; ++g) {
      const std::int64_t from = ((b.panel + p) * a.groups + b.group + g) * kPanel;
      const std::int64_t to = (g * panels + p) * kPanel;
      _mm512_store_ps(b.scales + to, _mm512_loadu_ps(a.scales + from));
      if (a.zeros != nullptr) {
        const auto* z = reinterpret_cast<const __m128i*>(a.zeros + from);
        _mm512_store_si512(b.zeros + to, _mm512_maskz_cvtepu8_epi32(kAll, _mm_loadu_si128(z)));
      }
    }
  }
}

// A strip of panels with groups of at most kGroupedColumns.
void run_grouped(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t panels,
                 std::int64_t row_begin, std::int64_t row_end, NextStrip& next) {
  alignas(64) float sums[kChunkRows * kSumStride];
  GroupedBlock b;
  b.panel = panel;
  for (b.group = 0; b.group < a.groups; b.group += b.groups) {
    b.groups = least(kGroupedColumns / a.group_size, a.groups - b.group);
    b.column = b.group * a.group_size;
    b.first = b.group == 0;
    b.last = b.group + b.groups == a.groups;
    load_block(a, panels, b);
    const GroupedFn* tiles =
        a.zeros == nullptr ? kGroupedTiles<true>[panels - 1] : kGroupedTiles<false>[panels - 1];
    for (std::int64_t row = row_begin; row < row_end; row += kGroupedRows) {
      next.prefetch_slice();
      tiles[least(kGroupedRows, row_end - row) - 1](a, b, row,
                                                    sums + (row - row_begin) * kSumStride);
    }
  }
}

}  // namespace

void quant_matmul_a8_avx512vnni(const QuantMatmulArgs& a, std::int64_t row_begin,
                                std::int64_t row_end, std::int64_t panel_begin,
                                std::int64_t panel_end) noexcept {
  // Several groups that each exceed a block do not fit the tiles' scheme; they are rare.
  const bool huge_groups = a.groups > 1 && a.group_size > kGroupedColumns;
  if (a.rows <= kStreamRows || huge_groups) {
    stream_a8_avx512vnni(a, row_begin, row_end, panel_begin, panel_end);
    return;
  }
  for (std::int64_t panel = panel_begin; panel < panel_end; panel += kStrip) {
    const std::int64_t panels = least(kStrip, panel_end - panel);
    NextStrip next(a, panel, panels, row_end - row_begin);
    for (std::int64_t row = row_begin; row < row_end; row += kChunkRows) {
      const std::int64_t end = least(row + kChunkRows, row_end);
      if (a.groups == 1) {
        run_single(a, panel, panels, row, end);
      } else {
        run_grouped(a, panel, panels, row, end, next);
      }
    }
  }
}

}  // namespace aquatint::kernels
