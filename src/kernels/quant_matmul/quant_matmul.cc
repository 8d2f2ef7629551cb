#include "kernels/quant_matmul/quant_matmul.h"

#include <algorithm>

#include "base/threads.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kPanel = PackedWeights::kPanel;
// Panels per register tile of the fastest variants: cuts between threads fall on whole tiles.
constexpr std::int64_t kStrip = 4;
constexpr std::int64_t kRowTile = 6;
// Up to this many rows the fastest variants read panel after panel and are bound by memory.
constexpr std::int64_t kStreamRows = 4;
// Work for which waking other threads costs more than it saves.
constexpr std::int64_t kSmallProduct = 1 << 17;  // multiply-adds
constexpr std::int64_t kSmallWeights = 1 << 15;  // bytes

const QuantMatmulVariant& active_variant() {
  static const QuantMatmulVariant& chosen = []() -> const QuantMatmulVariant& {
    const auto& variants = quant_matmul_variants();
    std::size_t best = 0;
    for (std::size_t i = 0; i < variants.size(); ++i) {
      if (variants[i].isa <= active_isa()) best = i;
    }
    return variants[best];
  }();
  return chosen;
}

QuantMatmulArgs weight_args(const PackedWeights& w, std::int64_t rows, const float* bias, float* y,
                            std::int64_t ldy) {
  AQUATINT_ASSERT(w.bits == 4 || w.bits == 8);
  AQUATINT_ASSERT(rows >= 0 && ldy >= w.outputs && w.group_size % 8 == 0);
  QuantMatmulArgs args{};
  args.rows = rows;
  args.data = w.data.data<std::uint8_t>();
  args.scales = w.scales.data<float>();
  args.zeros = w.zeros.defined() ? w.zeros.data<std::uint8_t>() : nullptr;
  args.symmetric_zero = w.symmetric_zero;
  args.bits = w.bits;
  args.outputs = w.outputs;
  args.group_size = w.group_size;
  args.groups = w.groups;
  args.bias = bias;
  args.y = y;
  args.ldy = ldy;
  return args;
}

// Share of the threads' time that is used when `tiles` equal tiles are dealt out.
double balance(std::int64_t tiles, std::int64_t threads) {
  const std::int64_t rounds = (tiles + threads - 1) / threads;
  return static_cast<double>(tiles) / static_cast<double>(rounds * threads);
}

void run(QuantMatmulFn fn, const QuantMatmulArgs& a) {
  const std::int64_t panels = (a.outputs + kPanel - 1) / kPanel;
  const std::int64_t columns = a.group_size * a.groups;
  const bool decode = a.rows <= kStreamRows;
  const std::int64_t size = panels * kPanel * columns;
  const bool small = decode ? size * a.bits / 8 < kSmallWeights : size * a.rows < kSmallProduct;
  if (small) {
    fn(a, 0, a.rows, 0, panels);
    return;
  }
  // Splitting the outputs reads the weights once; splitting the rows is for matrices with few
  // outputs.
  const std::int64_t grain = decode ? 1 : kStrip;
  const std::int64_t threads = num_threads();
  const double by_outputs = balance((panels + grain - 1) / grain, threads);
  const double by_rows = balance((a.rows + kRowTile - 1) / kRowTile, threads);
  if (!decode && by_rows > by_outputs * 1.1) {
    parallel_for(a.rows, kRowTile,
                 [&](std::int64_t begin, std::int64_t end) { fn(a, begin, end, 0, panels); });
  } else {
    parallel_for(panels, grain,
                 [&](std::int64_t begin, std::int64_t end) { fn(a, 0, a.rows, begin, end); });
  }
}

}  // namespace

const std::vector<QuantMatmulVariant>& quant_matmul_variants() {
  static const std::vector<QuantMatmulVariant> variants = {
    {Isa::kReference, quant_matmul_a8_reference, quant_matmul_a16_reference},
#if defined(__x86_64__)
    {Isa::kAvx2, quant_matmul_a8_avx2, quant_matmul_a16_avx2},
    {Isa::kAvx512, quant_matmul_a8_avx2, quant_matmul_a16_avx512},
    {Isa::kAvx512Vnni, quant_matmul_a8_avx512vnni, quant_matmul_a16_avx512},
    {Isa::kAvx512Bf16, quant_matmul_a8_avx512vnni, quant_matmul_a16_avx512bf16},
#endif
  };
  return variants;
}

void quant_matmul_a8(const Int8Rows& x, std::int64_t rows, const PackedWeights& w,
                     const float* bias, float* y, std::int64_t ldy) {
  QuantMatmulArgs args = weight_args(w, rows, bias, y, ldy);
  args.x8 = x.values;
  args.x_scales = x.scales;
  args.sums8 = x.group_sums;
  run(active_variant().a8, args);
}

void quant_matmul_a16(const Bf16Rows& x, std::int64_t rows, const PackedWeights& w,
                      const float* bias, float* y, std::int64_t ldy) {
  QuantMatmulArgs args = weight_args(w, rows, bias, y, ldy);
  args.x16 = x.values;
  args.sums16 = x.group_sums;
  run(active_variant().a16, args);
}

}  // namespace aquatint::kernels
