// Few rows: one panel after the other, straight through the packed bytes, bound by memory.
#include "kernels/quant_matmul/x86_avx512bf16.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kPrefetchBytes = 8192;

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
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
      dot[r][0] = start(a, panel, row + r, g);
      dot[r][1] = dot[r][2] = dot[r][3] = _mm512_setzero_ps();
    }
    for (std::int64_t i = 0; i < vectors; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(w) + kPrefetchBytes, _MM_HINT_T0);
      const Nibbles q = expand(_mm512_loadu_si512(w), tables);
#pragma GCC unroll 8
      for (unsigned r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int j = 0; j < 4; ++j) {
          const __m512i pair = broadcast_pair(x + r * columns + 2 * pair_of<kBits>(j));
          add_dot(dot[r][j], q.n[j], pair);
        }
      }
      w += kVector;
      x += kColumns;
    }
    const __m512 scales = load_scales(a, panel, g);
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int j = 0; j < 4; ++j) sum[r][j] = _mm512_fmadd_ps(dot[r][j], scales, sum[r][j]);
    }
  }
#pragma GCC unroll 8
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

}  // namespace

void stream_a16_avx512bf16(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
                           std::int64_t panel_begin, std::int64_t panel_end) noexcept {
  const auto run = a.bits == 4 ? stream<4> : stream<8>;
  run(a, row_begin, row_end, panel_begin, panel_end);
}

}  // namespace aquatint::kernels
