// bfloat16 activations on AVX512-BF16. vdpbf16ps multiplies 16 outputs by one pair of columns; the
// pairs are columns (0, 2) and (1, 3) of a quad, because those are what a mask or a shift leaves in
// the 16-bit words of a packed vector, and the activations come in that order. Integers are exact
// in bfloat16: a word's low four bits index a table of 32 (vpermw ignores the bits above the fifth,
// the table is doubled for the fifth), so one shift and one permute make a pair vector of u -
// centre. Bytes are two nibbles: 16 * (high - 8) + low. Structure as in x86_avx512vnni.cc: a linear
// stream for few rows, and for many rows blocks unpacked once into L1 and register tiles.
#include "kernels/quant_matmul/x86_avx512bf16.h"

namespace aquatint::kernels {
namespace {

// Panels of a register tile, and its rows when outputs have one scale or several.
constexpr std::int64_t kStrip = 4;
constexpr std::int64_t kSingleRows = 6;
constexpr std::int64_t kGroupedRows = 3;
// Columns of a block. A tile of 6 rows reads weights slowly enough to have them in L2; one of 3
// rows does not, its block of 4 panels (32 KiB) belongs in L1.
constexpr std::int64_t kSingleColumns = 1024;
constexpr std::int64_t kGroupedColumns = 256;
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

// Columns of a packed panel as centred bfloat16, pairs of columns `stride` elements apart.
void unpack_u4(const std::uint8_t* packed, std::int64_t columns, std::int64_t stride,
               std::uint16_t* out) {
  const Tables tables = make_tables<4>();
  for (std::int64_t i = 0; i < columns / 8; ++i) {
    const Nibbles q = expand(_mm512_loadu_si512(packed + i * kVector), tables);
#pragma GCC unroll 8
    for (int j = 0; j < 4; ++j) {
      _mm512_store_si512(out + (i * 4 + pair_of<4>(j)) * stride, q.n[j]);
    }
  }
}

// Byte `at` of each lane of centred bytes, as float32.
template <int at>
__m512i byte_as_f32(__m512i centred) {
  const __m512i top = at == 3 ? centred : _mm512_maskz_slli_epi32(kAll, centred, 24 - 8 * at);
  return _mm512_castps_si512(
      _mm512_maskz_cvtepi32_ps(kAll, _mm512_maskz_srai_epi32(kAll, top, 24)));
}

// The upper halves of both, the first in the low words: integers below 257 have no lower half.
__m512i pair_up(__m512i first, __m512i second) {
  return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_maskz_srli_epi32(kAll, first, 16), second);
}

void unpack_u8(const std::uint8_t* packed, std::int64_t columns, std::int64_t stride,
               std::uint16_t* out) {
  const __m512i sign = _mm512_set1_epi8(-128);
  for (std::int64_t i = 0; i < columns / 4; ++i) {
    const __m512i v = _mm512_xor_si512(_mm512_loadu_si512(packed + i * kVector), sign);
    std::uint16_t* pairs = out + i * 2 * stride;
    _mm512_store_si512(pairs, pair_up(byte_as_f32<0>(v), byte_as_f32<2>(v)));
    _mm512_store_si512(pairs + stride, pair_up(byte_as_f32<1>(v), byte_as_f32<3>(v)));
  }
}

constexpr std::int64_t kPairs = 2 * kPanel;  // elements of one pair of columns of a panel

// Columns of up to kStrip panels whose outputs have one scale each: [panel][pair][16][2].
struct SingleBlock {
  alignas(64) std::uint16_t weights[kStrip * kPanel * kSingleColumns];
  std::int64_t panel;   // first panel
  std::int64_t column;  // first column
  std::int64_t pairs;
  bool first, last;  // of the columns
};

// R rows of a block; between blocks the unscaled sums wait in `sums`.
template <unsigned R, unsigned P>
void single_tile(const QuantMatmulArgs& a, const SingleBlock& b, std::int64_t row, float* sums) {
  const std::int64_t ldx = padded_columns(a);
  __m512 dot[R][P];
#pragma GCC unroll 8
  for (unsigned r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (unsigned p = 0; p < P; ++p) {
      const std::int64_t panel = b.panel + p;
      dot[r][p] = b.first ? start(a, panel, row + r, 0)
                          : _mm512_load_ps(sums + r * kSumStride + p * kPanel);
    }
  }
  if (b.last) prefetch_outputs<R>(a, row, b.panel);
  const std::uint16_t* w = b.weights;
  const std::uint16_t* x = a.x16 + row * ldx + b.column;
  const std::int64_t panel_stride = b.pairs * kPairs;
  for (std::int64_t i = 0; i < b.pairs; ++i) {
    __m512i u[P];
#pragma GCC unroll 8
    for (unsigned p = 0; p < P; ++p) u[p] = load_once(w + p * panel_stride);
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
      const __m512i v = broadcast_pair(x + r * ldx);
#pragma GCC unroll 8
      for (unsigned p = 0; p < P; ++p) add_dot(dot[r][p], u[p], v);
    }
    w += kPairs;
    x += 2;
  }
#pragma GCC unroll 8
  for (unsigned p = 0; p < P; ++p) {
    const __m512 scales = load_scales(a, b.panel + p, 0);
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
      if (b.last) {
        finish(a, row + r, b.panel + p, _mm512_mul_ps(dot[r][p], scales));
      } else {
        _mm512_store_ps(sums + r * kSumStride + p * kPanel, dot[r][p]);
      }
    }
  }
}

// Groups, or part of one, of up to kStrip panels, laid out in the order a tile reads them, so that
// its loop over groups needs few addresses.
struct GroupedBlock {
  alignas(
      64) std::uint16_t weights[kStrip * kPanel * kGroupedColumns];  // [group][pair][panel][16][2]
  alignas(64) float scales[kStrip * kPanel * kGroupedColumns / 8];   // [group][panel][16]
  alignas(64) float offsets[kStrip * kPanel * kGroupedColumns / 8];  // centre - z, likewise
  std::int64_t panel;                                                // first panel
  std::int64_t column;                                               // first column
  std::int64_t group, groups;
  std::int64_t width;  // columns of each group that are in the block
  bool first, last;    // of the columns
};

// R rows of a block; between blocks the sums wait in `sums`. A group that spans blocks is scaled
// part by part.
template <unsigned R, unsigned P, bool kOffsets>
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
  const std::uint16_t* x = a.x16 + row * ldx + b.column;
  const float* xsum = a.sums16 + row * a.groups + b.group;
  const std::uint16_t* w = b.weights;
  const float* s = b.scales;
  const float* offsets = b.offsets;
  for (std::int64_t g = 0; g < b.groups; ++g) {
    __m512 dot[R][P];
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
      const __m512 sum_x = kOffsets ? _mm512_set1_ps(xsum[r * a.groups + g]) : _mm512_setzero_ps();
#pragma GCC unroll 8
      for (unsigned p = 0; p < P; ++p) {
        dot[r][p] = kOffsets ? _mm512_mul_ps(_mm512_load_ps(offsets + p * kPanel), sum_x) : sum_x;
      }
    }
    for (const std::uint16_t* end = w + b.width / 2 * P * kPairs; w != end;) {
      __m512i u[P];
#pragma GCC unroll 8
      for (unsigned p = 0; p < P; ++p) u[p] = load_once(w + p * kPairs);
#pragma GCC unroll 8
      for (unsigned r = 0; r < R; ++r) {
        const __m512i v = broadcast_pair(x + r * ldx);
#pragma GCC unroll 8
        for (unsigned p = 0; p < P; ++p) add_dot(dot[r][p], u[p], v);
      }
      w += P * kPairs;
      x += 2;
    }
#pragma GCC unroll 8
    for (unsigned p = 0; p < P; ++p) {
      const __m512 scales = _mm512_load_ps(s + p * kPanel);
#pragma GCC unroll 8
      for (unsigned r = 0; r < R; ++r) sum[r][p] = _mm512_fmadd_ps(dot[r][p], scales, sum[r][p]);
    }
    s += P * kPanel;
    offsets += P * kPanel;
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

using SingleFn = void (*)(const QuantMatmulArgs&, const SingleBlock&, std::int64_t, float* sums);
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
// [panels - 1][rows - 1].
template <bool kOffsets>
constexpr GroupedFn kGroupedTiles[kStrip][kGroupedRows] = {
    {grouped_tile<1, 1, kOffsets>, grouped_tile<2, 1, kOffsets>, grouped_tile<3, 1, kOffsets>},
    {grouped_tile<1, 2, kOffsets>, grouped_tile<2, 2, kOffsets>, grouped_tile<3, 2, kOffsets>},
    {grouped_tile<1, 3, kOffsets>, grouped_tile<2, 3, kOffsets>, grouped_tile<3, 3, kOffsets>},
    {grouped_tile<1, 4, kOffsets>, grouped_tile<2, 4, kOffsets>, grouped_tile<3, 4, kOffsets>}};

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

// A strip of panels with one scale per output.
void run_single(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t panels,
                std::int64_t row_begin, std::int64_t row_end) {
  alignas(64) float sums[kChunkRows * kSumStride];
  const std::int64_t columns = padded_columns(a);
  const auto unpack = a.bits == 4 ? unpack_u4 : unpack_u8;
  SingleBlock b;
  b.panel = panel;
  for (b.column = 0; b.column < columns; b.column += b.pairs * 2) {
    const std::int64_t width = least(kSingleColumns, columns - b.column);
    b.pairs = width / 2;
    b.first = b.column == 0;
    b.last = b.column + width == columns;
    const std::uint8_t* packed = a.data + panel * packed_stride(a) + b.column * kPanel * a.bits / 8;
    for (std::int64_t p = 0; p < panels; ++p) {
      unpack(packed + p * packed_stride(a), width, kPairs, b.weights + p * width * kPanel);
    }
    for (std::int64_t row = row_begin; row < row_end; row += kSingleRows) {
      kSingleTiles[panels - 1][least(kSingleRows, row_end - row) - 1](
          a, b, row, sums + (row - row_begin) * kSumStride);
    }
  }
}

// Fills a block with b.width columns of each of b.groups groups of `panels` panels.
void load_block(const QuantMatmulArgs& a, std::int64_t panels, GroupedBlock& b) {
  const auto unpack = a.bits == 4 ? unpack_u4 : unpack_u8;
  const bool starts = b.column == b.group * a.group_size;
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::uint8_t* packed =
        a.data + (b.panel + p) * packed_stride(a) + b.column * kPanel * a.bits / 8;
    unpack(packed, b.groups * b.width, panels * kPairs, b.weights + p * kPairs);
    for (std::int64_t g = 0; g < b.groups; ++g) {
      const std::int64_t to = (g * panels + p) * kPanel;
      _mm512_store_ps(b.scales + to, load_scales(a, b.panel + p, b.group + g));
      const __m512 offset = starts ? offsets(a, b.panel + p, b.group + g) : _mm512_setzero_ps();
      _mm512_store_ps(b.offsets + to, offset);
    }
  }
}

// A strip of panels with several scales per output.
void run_grouped(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t panels,
                 std::int64_t row_begin, std::int64_t row_end, NextStrip& next) {
  alignas(64) float sums[kChunkRows * kSumStride];
  const std::int64_t columns = padded_columns(a);
  const bool spans = a.group_size > kGroupedColumns;
  const GroupedFn* tiles =
      has_offsets(a) ? kGroupedTiles<true>[panels - 1] : kGroupedTiles<false>[panels - 1];
  GroupedBlock b;
  b.panel = panel;
  for (b.column = 0; b.column < columns; b.column += b.groups * b.width) {
    b.group = b.column / a.group_size;
    b.groups = spans ? 1 : least(kGroupedColumns / a.group_size, a.groups - b.group);
    b.width =
        spans ? least(kGroupedColumns, (b.group + 1) * a.group_size - b.column) : a.group_size;
    b.first = b.column == 0;
    b.last = b.column + b.groups * b.width == columns;
    load_block(a, panels, b);
    for (std::int64_t row = row_begin; row < row_end; row += kGroupedRows) {
      next.prefetch_slice();
      tiles[least(kGroupedRows, row_end - row) - 1](a, b, row,
                                                    sums + (row - row_begin) * kSumStride);
    }
  }
}

}  // namespace

void quant_matmul_a16_avx512bf16(const QuantMatmulArgs& a, std::int64_t row_begin,
                                 std::int64_t row_end, std::int64_t panel_begin,
                                 std::int64_t panel_end) noexcept {
  if (a.rows <= kStreamRows) {
    stream_a16_avx512bf16(a, row_begin, row_end, panel_begin, panel_end);
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
