// bfloat16 activations on AVX512-BF16. vdpbf16ps multiplies 16 outputs by one pair of columns; the
// pairs are columns (0, 2) and (1, 3) of a quad, because those are what a mask or a shift leaves in
// the 16-bit words of a packed vector, and the activations come in that order. Integers are exact
// in bfloat16: a word's low four bits index a table of 32 (vpermw ignores the bits above the fifth,
// the table is doubled for the fifth), so one shift and one permute make a pair vector of u -
// centre. Bytes are two nibbles: 16 * (high - 8) + low. Structure as in x86_avx512vnni.cc: a linear
// stream for few rows, and for many rows blocks unpacked once into L1 and register tiles.
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
constexpr std::int64_t kBlockColumns = 256;  // times 4 panels of 16 outputs in bf16: 32 KiB of L1
constexpr std::int64_t kPrefetchBytes = 4096;

std::int64_t padded_columns(const QuantMatmulArgs& a) {
  return a.group_size * a.groups;
}

std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

__m512bh as_bf16(__m512i v) {
  return reinterpret_cast<__m512bh>(v);
}

// Two activations in every lane.
__m512bh broadcast_pair(const std::uint16_t* x) {
  int pair = 0;
  std::memcpy(&pair, x, sizeof pair);
  return as_bf16(_mm512_set1_epi32(pair));
}

__mmask16 output_mask(const QuantMatmulArgs& a, std::int64_t panel) {
  const std::int64_t left = a.outputs - panel * kPanel;
  return left >= kPanel ? __mmask16{0xffff} : static_cast<__mmask16>((1u << left) - 1u);
}

// What is subtracted from the unsigned weights when they become bfloat16.
int centre(const QuantMatmulArgs& a) {
  return a.bits == 4 ? 8 : 128;
}

__m512 load_scales(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t g) {
  return _mm512_loadu_ps(a.scales + (panel * a.groups + g) * kPanel);
}

// (centre - z) * xsum: what the dot product of a group starts from.
__m512 start(const QuantMatmulArgs& a, std::int64_t panel, std::int64_t row, std::int64_t g) {
  if (a.zeros == nullptr && a.symmetric_zero == centre(a)) return _mm512_setzero_ps();
  __m512i z = _mm512_set1_epi32(a.symmetric_zero);
  if (a.zeros != nullptr) {
    const std::uint8_t* zeros = a.zeros + (panel * a.groups + g) * kPanel;
    z = _mm512_maskz_cvtepu8_epi32(kAll, _mm_loadu_si128(reinterpret_cast<const __m128i*>(zeros)));
  }
  const __m512i offset = _mm512_sub_epi32(_mm512_set1_epi32(centre(a)), z);
  return _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(kAll, offset),
                       _mm512_set1_ps(a.sums16[row * a.groups + g]));
}

void finish(const QuantMatmulArgs& a, std::int64_t row, std::int64_t panel, __m512 sum) {
  const __mmask16 mask = output_mask(a, panel);
  if (a.bias != nullptr) {
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, a.bias + panel * kPanel));
  }
  _mm512_mask_storeu_ps(a.y + row * a.ldy + panel * kPanel, mask, sum);
}

// bf16 of (i % 16 - offset) * factor for the 32 words of a vector.
__m512i nibble_table(int offset, int factor) {
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
Tables make_tables() {
  if constexpr (kBits == 4) return {nibble_table(8, 1), nibble_table(8, 1)};
  return {nibble_table(0, 1), nibble_table(8, 16)};
}

// The four nibbles of each word of a packed vector as bfloat16.
struct Nibbles {
  __m512i n[4];
};

Nibbles expand(__m512i v, const Tables& t) {
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

// ---- Few rows: one panel after the other, straight through the packed bytes.

template <int kBits, unsigned R>
void stream_panel(const QuantMatmulArgs& a, std::int64_t row, std::int64_t panel) {
  constexpr std::int64_t kColumns = kBits == 4 ? 8 : 4;  // of one vector
  const std::int64_t columns = padded_columns(a);
  const std::uint8_t* w = a.data + panel * columns * kPanel * kBits / 8;
  const std::uint16_t* x = a.x16 + row * columns;
  const std::int64_t vectors = a.group_size / kColumns;
  const Tables tables = make_tables<kBits>();
  __m512 sum[R][4] = {};
  for (std::int64_t g = 0; g < a.groups; ++g) {
    __m512 dot[R][4];
    for (unsigned r = 0; r < R; ++r) {
      dot[r][0] = start(a, panel, row + r, g);
      dot[r][1] = dot[r][2] = dot[r][3] = _mm512_setzero_ps();
    }
    for (std::int64_t i = 0; i < vectors; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(w) + kPrefetchBytes, _MM_HINT_T0);
      const Nibbles q = expand(_mm512_loadu_si512(w), tables);
      for (unsigned r = 0; r < R; ++r) {
        for (int j = 0; j < 4; ++j) {
          const __m512bh pair = broadcast_pair(x + r * columns + 2 * pair_of<kBits>(j));
          dot[r][j] = _mm512_dpbf16_ps(dot[r][j], as_bf16(q.n[j]), pair);
        }
      }
      w += kVector;
      x += kColumns;
    }
    const __m512 scales = load_scales(a, panel, g);
    for (unsigned r = 0; r < R; ++r) {
      for (int j = 0; j < 4; ++j) sum[r][j] = _mm512_fmadd_ps(dot[r][j], scales, sum[r][j]);
    }
  }
  for (unsigned r = 0; r < R; ++r) {
    finish(a, row + r, panel,
           _mm512_add_ps(_mm512_add_ps(sum[r][0], sum[r][1]), _mm512_add_ps(sum[r][2], sum[r][3])));
  }
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

// A block of columns of up to kStrip panels as centred bfloat16, [panel][pair][16][2].
struct Block {
  const std::uint16_t* weights;
  std::int64_t panel_stride;  // elements
  std::int64_t panel;         // first panel
  std::int64_t column;        // first column
  std::int64_t pairs;         // of one group, or of the block when a group spans blocks
  std::int64_t group, groups;
  bool group_starts;  // false when a group spans blocks and began in an earlier one
  bool first, last;   // of the columns
};

template <unsigned R, unsigned P>
void multiply(const Block& b, const std::uint16_t* w, const std::uint16_t* x, std::int64_t ldx,
              __m512 (&dot)[R][P]) {
  for (std::int64_t i = 0; i < b.pairs; ++i) {
    __m512bh u[P];
    for (unsigned p = 0; p < P; ++p) {
      u[p] = as_bf16(_mm512_load_si512(w + i * 2 * kPanel + p * b.panel_stride));
    }
    for (unsigned r = 0; r < R; ++r) {
      const __m512bh v = broadcast_pair(x + i * 2 + r * ldx);
      for (unsigned p = 0; p < P; ++p) dot[r][p] = _mm512_dpbf16_ps(dot[r][p], u[p], v);
    }
  }
}

// R rows of a block; between blocks the sums wait in y. A group that spans blocks is scaled part by
// part.
template <unsigned R, unsigned P>
void grouped_tile(const QuantMatmulArgs& a, const Block& b, std::int64_t row) {
  const std::int64_t ldx = padded_columns(a);
  const std::uint16_t* x = a.x16 + row * ldx + b.column;
  const std::uint16_t* w = b.weights;
  float* y = a.y + row * a.ldy + b.panel * kPanel;
  __m512 sum[R][P];
  for (unsigned r = 0; r < R; ++r) {
    for (unsigned p = 0; p < P; ++p) {
      const __mmask16 mask = b.first ? __mmask16{0} : output_mask(a, b.panel + p);
      sum[r][p] = _mm512_maskz_loadu_ps(mask, y + r * a.ldy + p * kPanel);
    }
  }
  for (std::int64_t g = b.group; g < b.group + b.groups; ++g) {
    __m512 dot[R][P];
    for (unsigned r = 0; r < R; ++r) {
      for (unsigned p = 0; p < P; ++p) {
        dot[r][p] = b.group_starts ? start(a, b.panel + p, row + r, g) : _mm512_setzero_ps();
      }
    }
    multiply(b, w, x, ldx, dot);
    w += b.pairs * 2 * kPanel;
    x += b.pairs * 2;
    for (unsigned p = 0; p < P; ++p) {
      const __m512 scales = load_scales(a, b.panel + p, g);
      for (unsigned r = 0; r < R; ++r) sum[r][p] = _mm512_fmadd_ps(dot[r][p], scales, sum[r][p]);
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

// R rows of a block when each output has one scale; between blocks the unscaled sums wait in y.
template <unsigned R, unsigned P>
void single_tile(const QuantMatmulArgs& a, const Block& b, std::int64_t row) {
  const std::int64_t ldx = padded_columns(a);
  float* y = a.y + row * a.ldy + b.panel * kPanel;
  __m512 dot[R][P];
  for (unsigned r = 0; r < R; ++r) {
    for (unsigned p = 0; p < P; ++p) {
      const std::int64_t panel = b.panel + p;
      dot[r][p] = b.first
                      ? start(a, panel, row + r, 0)
                      : _mm512_maskz_loadu_ps(output_mask(a, panel), y + r * a.ldy + p * kPanel);
    }
  }
  multiply(b, b.weights, a.x16 + row * ldx + b.column, ldx, dot);
  for (unsigned p = 0; p < P; ++p) {
    const __m512 scales = load_scales(a, b.panel + p, 0);
    for (unsigned r = 0; r < R; ++r) {
      if (b.last) {
        finish(a, row + r, b.panel + p, _mm512_mul_ps(dot[r][p], scales));
      } else {
        _mm512_mask_storeu_ps(y + r * a.ldy + p * kPanel, output_mask(a, b.panel + p), dot[r][p]);
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

// Packed nibbles to pairs in column order.
void unpack_u4(const std::uint8_t* packed, std::int64_t columns, std::uint16_t* out) {
  const Tables tables = make_tables<4>();
  for (std::int64_t i = 0; i < columns / 8; ++i) {
    const Nibbles q = expand(_mm512_loadu_si512(packed + i * kVector), tables);
    for (int j = 0; j < 4; ++j) {
      _mm512_store_si512(out + (i * 4 + pair_of<4>(j)) * 2 * kPanel, q.n[j]);
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

void unpack_u8(const std::uint8_t* packed, std::int64_t columns, std::uint16_t* out) {
  const __m512i sign = _mm512_set1_epi8(-128);
  for (std::int64_t i = 0; i < columns / 4; ++i) {
    const __m512i v = _mm512_xor_si512(_mm512_loadu_si512(packed + i * kVector), sign);
    std::uint16_t* pairs = out + i * 4 * kPanel;
    _mm512_store_si512(pairs, pair_up(byte_as_f32<0>(v), byte_as_f32<2>(v)));
    _mm512_store_si512(pairs + 2 * kPanel, pair_up(byte_as_f32<1>(v), byte_as_f32<3>(v)));
  }
}

// All rows of one block of `columns` columns of `panels` panels.
void run_block(const QuantMatmulArgs& a, Block b, std::int64_t panels, std::int64_t columns,
               std::int64_t row_begin, std::int64_t row_end) {
  alignas(64) std::uint16_t scratch[kStrip * kPanel * kBlockColumns];
  const std::int64_t packed_stride = padded_columns(a) * kPanel * a.bits / 8;
  const std::uint8_t* packed = a.data + b.panel * packed_stride + b.column * kPanel * a.bits / 8;
  b.weights = scratch;
  b.panel_stride = columns * kPanel;
  for (std::int64_t p = 0; p < panels; ++p) {
    const auto unpack = a.bits == 4 ? unpack_u4 : unpack_u8;
    unpack(packed + p * packed_stride, columns, scratch + p * b.panel_stride);
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
  const bool spans = a.group_size > kBlockColumns;  // a group spans blocks
  const std::int64_t whole = spans ? kBlockColumns : kBlockColumns / a.group_size * a.group_size;
  std::int64_t width = 0;
  for (std::int64_t column = 0; column < columns; column += width) {
    width = least(whole, columns - column);
    const std::int64_t within = column % a.group_size;
    if (spans) width = least(width, a.group_size - within);
    Block b{};
    b.panel = panel;
    b.column = column;
    b.pairs = (spans ? width : a.group_size) / 2;
    b.group = column / a.group_size;
    b.groups = spans ? 1 : width / a.group_size;
    b.group_starts = within == 0;
    b.first = column == 0;
    b.last = column + width == columns;
    run_block(a, b, panels, width, row_begin, row_end);
  }
}

}  // namespace

void quant_matmul_a16_avx512bf16(const QuantMatmulArgs& a, std::int64_t row_begin,
                                 std::int64_t row_end, std::int64_t panel_begin,
                                 std::int64_t panel_end) noexcept {
  if (a.rows <= kStreamRows) {
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
