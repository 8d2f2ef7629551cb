// Few rows: one panel after the other, straight through the packed bytes, bound by memory.
#include "kernels/quant_matmul/x86_avx512vnni.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kPrefetchBytes = 4096;

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
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (unsigned s = 0; s < kSteps; ++s) dot[r][s][0] = dot[r][s][1] = _mm512_setzero_si512();
      dot[r][0][0] = start(a, panel, row + r, g);
    }
    std::int64_t i = 0;
    for (; i + kSteps <= steps; i += kSteps) {
#pragma GCC unroll 8
      for (unsigned s = 0; s < kSteps; ++s) {
        for (std::int64_t b = 0; b < kStepBytes; b += kVector) {
          _mm_prefetch(reinterpret_cast<const char*>(w) + kPrefetchBytes + b, _MM_HINT_T0);
        }
        const Quads q = load_quads<kBits>(w);
#pragma GCC unroll 8
        for (unsigned r = 0; r < R; ++r) {
          const std::int8_t* xr = x + r * columns;
          add_dot(dot[r][s][0], q.first, broadcast_quad(xr));
          add_dot(dot[r][s][1], q.second, broadcast_quad(xr + 4));
        }
        w += kStepBytes;
        x += 8;
      }
    }
    if (kSteps == 2 && i < steps) {
      const Quads q = load_quads<kBits>(w);
#pragma GCC unroll 8
      for (unsigned r = 0; r < R; ++r) {
        const std::int8_t* xr = x + r * columns;
        add_dot(dot[r][0][0], q.first, broadcast_quad(xr));
        add_dot(dot[r][0][1], q.second, broadcast_quad(xr + 4));
      }
      w += kStepBytes;
      x += 8;
    }
    const __m512 scales = load_scales(a, panel, g);
#pragma GCC unroll 8
    for (unsigned r = 0; r < R; ++r) {
      __m512i total = _mm512_add_epi32(dot[r][0][0], dot[r][0][1]);
      if constexpr (kSteps == 2) {
        total = _mm512_add_epi32(total, _mm512_add_epi32(dot[r][1][0], dot[r][1][1]));
      }
      sum[r] = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(kAll, total), scales, sum[r]);
    }
  }
#pragma GCC unroll 8
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

}  // namespace

void stream_a8_avx512vnni(const QuantMatmulArgs& a, std::int64_t row_begin, std::int64_t row_end,
                          std::int64_t panel_begin, std::int64_t panel_end) noexcept {
  const auto run = a.bits == 4 ? stream<4> : stream<8>;
  run(a, row_begin, row_end, panel_begin, panel_end);
}

}  // namespace aquatint::kernels
