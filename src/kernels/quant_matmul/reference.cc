#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "kernels/quant_matmul/quant_matmul_variants.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kPanel = 16;

// u[n, k] of the packed weights.
int unsigned_weight(const QuantMatmulArgs& a, std::int64_t n, std::int64_t k) {
  const std::int64_t panel_bytes = a.group_size * a.groups * kPanel * a.bits / 8;
  const std::uint8_t* lane = a.data + n / kPanel * panel_bytes + n % kPanel * 4;
  if (a.bits == 8) return lane[k / 4 * 64 + k % 4];
  const int byte = lane[k / 8 * 64 + k % 4];
  return k % 8 < 4 ? byte & 15 : byte >> 4;
}

std::int64_t scale_index(const QuantMatmulArgs& a, std::int64_t n, std::int64_t g) {
  return (n / kPanel * a.groups + g) * kPanel + n % kPanel;
}

int zero(const QuantMatmulArgs& a, std::int64_t n, std::int64_t g) {
  return a.zeros != nullptr ? a.zeros[scale_index(a, n, g)] : a.symmetric_zero;
}

float finish(float product, const QuantMatmulArgs& a, float x_scale, std::int64_t n) {
  return a.bias != nullptr ? std::fma(product, x_scale, a.bias[n]) : product * x_scale;
}

}  // namespace

void quant_matmul_a8_reference(const QuantMatmulArgs& a, std::int64_t row_begin,
                               std::int64_t row_end, std::int64_t panel_begin,
                               std::int64_t panel_end) noexcept {
  const std::int64_t columns = a.group_size * a.groups;
  for (std::int64_t m = row_begin; m < row_end; ++m) {
    const std::int8_t* x = a.x8 + m * columns;
    for (std::int64_t n = panel_begin * kPanel; n < std::min(panel_end * kPanel, a.outputs); ++n) {
      float sum = 0.0f;
      for (std::int64_t g = 0; g < a.groups; ++g) {
        std::int32_t dot = -zero(a, n, g) * a.sums8[m * a.groups + g];
        for (std::int64_t k = g * a.group_size; k < (g + 1) * a.group_size; ++k) {
          dot += unsigned_weight(a, n, k) * x[k];
        }
        sum = std::fma(static_cast<float>(dot), a.scales[scale_index(a, n, g)], sum);
      }
      a.y[m * a.ldy + n] = finish(sum, a, a.x_scales[m], n);
    }
  }
}

void quant_matmul_a16_reference(const QuantMatmulArgs& a, std::int64_t row_begin,
                                std::int64_t row_end, std::int64_t panel_begin,
                                std::int64_t panel_end) noexcept {
  constexpr std::int64_t kPlace[4] = {0, 2, 1, 3};  // column order of round_rows_bf16
  const std::int64_t columns = a.group_size * a.groups;
  for (std::int64_t m = row_begin; m < row_end; ++m) {
    const std::uint16_t* x = a.x16 + m * columns;
    for (std::int64_t n = panel_begin * kPanel; n < std::min(panel_end * kPanel, a.outputs); ++n) {
      float sum = 0.0f;
      for (std::int64_t g = 0; g < a.groups; ++g) {
        const int z = zero(a, n, g);
        float dot = 0.0f;
        for (std::int64_t k = g * a.group_size; k < (g + 1) * a.group_size; ++k) {
          const float value = bf16_to_f32(x[k / 4 * 4 + kPlace[k % 4]]);
          dot += value * static_cast<float>(unsigned_weight(a, n, k) - z);
        }
        sum += dot * a.scales[scale_index(a, n, g)];
      }
      a.y[m * a.ldy + n] = finish(sum, a, 1.0f, n);
    }
  }
}

}  // namespace aquatint::kernels
