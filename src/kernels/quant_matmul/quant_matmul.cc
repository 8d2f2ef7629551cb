#include "kernels/quant_matmul/quant_matmul.h"

#include <algorithm>
#include <limits>

#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/quant_matmul/cuda_args.h"

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

QuantWeightsCuda cuda_weights(const GpuWeights& w) {
  AQUATINT_ASSERT(w.data.device().is_cuda() && (w.bits == 4 || w.bits == 8));
  QuantWeightsCuda plain;
  plain.data = reinterpret_cast<const std::uint8_t*>(w.data.bytes());
  plain.scales = w.scales.data<float>();
  plain.zeros = w.zeros.defined() ? w.zeros.data<std::int8_t>() : nullptr;
  plain.bits = w.bits;
  plain.outputs = w.outputs;
  plain.columns = w.columns;
  plain.padded_columns = w.padded_columns;
  plain.group_size = w.group_size;
  plain.groups = w.groups;
  return plain;
}

const CudaKernel<QuantMatmulCudaArgs>& a8_kernel() {
  static const CudaKernel<QuantMatmulCudaArgs> kernel("aquatint_cuda_quant_matmul_a8");
  return kernel;
}

const CudaKernel<QuantMatmulCudaArgs>& a16_kernel() {
  static const CudaKernel<QuantMatmulCudaArgs> kernel("aquatint_cuda_quant_matmul_a16");
  return kernel;
}

QuantProductCuda cuda_product(const GpuProduct& product) {
  AQUATINT_ASSERT(product.ldy >= product.w->outputs);
  return {cuda_weights(*product.w), product.bias, product.y, product.ldy, product.accumulate};
}

QuantProductCuda cuda_product(const GpuDenseProduct& product) {
  AQUATINT_ASSERT(product.ldy >= product.outputs && takes_dense(product.w, product.columns));
  QuantWeightsCuda plain;
  plain.data = reinterpret_cast<const std::uint8_t*>(product.w);
  plain.bits = 16;
  plain.outputs = product.outputs;
  plain.columns = product.columns;
  plain.padded_columns = product.columns;
  plain.group_size = product.columns;
  plain.groups = 1;
  return {plain, product.bias, product.y, product.ldy, product.accumulate};
}

bool share_launch(const GpuProduct& a, const GpuProduct& b) {
  return can_share_launch(*a.w, *b.w);
}

bool share_launch(const GpuDenseProduct& a, const GpuDenseProduct& b) {
  return a.columns == b.columns;
}

// `args` holds the activations.
template <typename Product>
void run_products(Stream& stream, const CudaKernel<QuantMatmulCudaArgs>& kernel,
                  QuantMatmulCudaArgs args, std::span<const Product> products, int tag = 0) {
  AQUATINT_ASSERT(stream.is_cuda() && args.rows >= 0);
  while (!products.empty()) {
    const auto now = products.first(std::min<std::size_t>(products.size(), kMostProducts));
    args.count = 0;
    for (const Product& product : now) {
      AQUATINT_ASSERT(share_launch(now[0], product));
      args.products[args.count] = cuda_product(product);
      AQUATINT_ASSERT(args.ldx >= args.products[args.count].w.columns);
      ++args.count;
    }
    kernel(stream, args, tag);
    products = products.subspan(now.size());
    args.rider = {};  // the first launch takes it along
  }
}

QuantMatmulCudaArgs bf16_args(const std::uint16_t* x, std::int64_t ldx, std::int64_t rows) {
  QuantMatmulCudaArgs args;
  args.x16 = x;
  args.rows = rows;
  args.ldx = ldx;
  return args;
}

QuantMatmulCudaArgs made_rows_args(const RowSource& x, std::int64_t rows, std::int64_t columns,
                                   const GpuDenseProduct* rider) {
  AQUATINT_ASSERT(can_make_rows(x, rows, columns));
  QuantMatmulCudaArgs args;
  args.source = x;
  args.rows = rows;
  args.ldx = x.ldx;
  if (rider != nullptr) {
    AQUATINT_ASSERT(rider->columns == columns && !rider->accumulate);
    args.rider = cuda_product(*rider);
  }
  return args;
}

void run_epilogue(Stream& stream, const GpuWeights& w, QuantEpilogueCudaArgs args) {
  static const CudaKernel<QuantEpilogueCudaArgs> kernel("aquatint_cuda_quant_epilogue");
  AQUATINT_ASSERT(stream.is_cuda() && w.groups == 1);
  AQUATINT_ASSERT(args.ld_sums >= w.outputs && args.ldy >= w.outputs);
  args.w = cuda_weights(w);
  kernel(stream, args);
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

bool can_share_launch(const GpuWeights& a, const GpuWeights& b) {
  return a.bits == b.bits && a.columns == b.columns && a.padded_columns == b.padded_columns &&
         a.group_size == b.group_size && a.groups == b.groups &&
         a.zeros.defined() == b.zeros.defined();
}

void quant_matmul_a8(Stream& stream, const Int8Rows& x, std::int64_t rows,
                     std::span<const GpuProduct> products) {
  if (products.empty()) return;
  QuantMatmulCudaArgs args;
  args.x8 = x.values;
  args.x_scales = x.scales;
  args.group_sums = x.group_sums;
  args.rows = rows;
  args.ldx = products[0].w->group_size * products[0].w->groups;
  run_products(stream, a8_kernel(), args, products);
}

void quant_matmul_a16(Stream& stream, const std::uint16_t* x, std::int64_t ldx, std::int64_t rows,
                      std::span<const GpuProduct> products) {
  run_products(stream, a16_kernel(), bf16_args(x, ldx, rows), products);
}

void dense_matmul_few(Stream& stream, const std::uint16_t* x, std::int64_t ldx, std::int64_t rows,
                      std::span<const GpuDenseProduct> products) {
  run_products(stream, a16_kernel(), bf16_args(x, ldx, rows), products);
}

bool takes_dense(const std::uint16_t* w, std::int64_t columns) {
  return reinterpret_cast<std::uintptr_t>(w) % 16 == 0 && columns % 32 == 0;
}

void quant_matmul_a8(Stream& stream, const RowSource& x, std::int64_t rows,
                     std::span<const GpuProduct> products, const GpuDenseProduct* rider, int tag) {
  if (products.empty()) return;
  AQUATINT_ASSERT(products[0].w->groups == 1);
  run_products(stream, a8_kernel(), made_rows_args(x, rows, products[0].w->columns, rider),
               products, tag);
}

void quant_matmul_a16(Stream& stream, const RowSource& x, std::int64_t rows,
                      std::span<const GpuProduct> products, const GpuDenseProduct* rider, int tag) {
  if (products.empty()) return;
  run_products(stream, a16_kernel(), made_rows_args(x, rows, products[0].w->columns, rider),
               products, tag);
}

bool can_make_rows(const RowSource& x, std::int64_t rows, std::int64_t columns) {
  const auto aligned = [](const float* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
  // Sums over columns are those of 128: what is normalized is the row, or whole such parts of it.
  const bool parts = x.norm_columns == 0 || x.norm_columns == columns ||
                     (x.norm_columns % 128 == 0 && columns % x.norm_columns == 0);
  return rows <= kMostMadeRows && columns <= kMostMadeColumns && columns % 4 == 0 && parts &&
         x.ldx % 4 == 0 && x.ld_gate % 4 == 0 && aligned(x.x) && aligned(x.weight) &&
         aligned(x.gate);
}

void quant_matmul_a8(Stream& stream, const Int8Rows& x, std::int64_t rows, const GpuWeights& w,
                     const float* bias, float* y, std::int64_t ldy, bool accumulate) {
  const GpuProduct product{&w, bias, y, ldy, accumulate};
  quant_matmul_a8(stream, x, rows, std::span(&product, 1));
}

void quant_matmul_a16(Stream& stream, const std::uint16_t* x, std::int64_t ldx, std::int64_t rows,
                      const GpuWeights& w, const float* bias, float* y, std::int64_t ldy,
                      bool accumulate) {
  const GpuProduct product{&w, bias, y, ldy, accumulate};
  quant_matmul_a16(stream, x, ldx, rows, std::span(&product, 1));
}

bool has_int8_tiles(Stream& stream, const GpuWeights& w) {
  constexpr int kHopper = 90;
  return stream.is_cuda() && w.bits == 8 && w.groups == 1 && w.padded_columns % 16 == 0 &&
         stream.launch().compute_capability == kHopper;
}

void quant_matmul_a8_tiles(Stream& stream, const Int8Rows& x, std::int64_t rows,
                           std::span<const TiledProduct> products) {
  static const CudaKernel<Int8TilesCudaArgs> kernel("aquatint_cuda_int8_tiles");
  AQUATINT_ASSERT(rows >= 0 && rows <= std::numeric_limits<std::int32_t>::max());
  Int8TilesCudaArgs args;
  args.x8 = x.values;
  args.x_scales = x.scales;
  args.group_sums = x.group_sums;
  args.rows = rows;
  while (!products.empty()) {
    const auto now = products.first(std::min<std::size_t>(products.size(), kMostProducts));
    args.count = 0;
    args.ldx = now[0].w->padded_columns;
    for (const TiledProduct& p : now) {
      AQUATINT_ASSERT(has_int8_tiles(stream, *p.w) && p.w->padded_columns == args.ldx);
      AQUATINT_ASSERT((p.y == nullptr) != (p.y16 == nullptr) && p.ldy >= p.w->outputs);
      AQUATINT_ASSERT(p.y16 == nullptr ? tiles_can_write(p.y, p.ldy)
                                       : !p.accumulate && tiles_can_write(p.y16, p.ldy));
      args.products[args.count++] = {cuda_weights(*p.w), p.bias, p.y, p.y16, p.ldy, p.accumulate};
    }
    kernel(stream, args);
    products = products.subspan(now.size());
  }
}

void dequantize_bf16(Stream& stream, const GpuWeights& w, std::uint16_t* out, std::int64_t ldo) {
  static const CudaKernel<DequantizeCudaArgs> kernel("aquatint_cuda_dequantize");
  AQUATINT_ASSERT(stream.is_cuda() && ldo >= w.columns);
  DequantizeCudaArgs args;
  args.w = cuda_weights(w);
  args.out = out;
  args.ldo = ldo;
  kernel(stream, args);
}

void dequantize_bf16(Stream& stream, const GpuWeights& w, std::uint16_t* out) {
  dequantize_bf16(stream, w, out, w.padded_columns);
}

void scale_outputs(Stream& stream, const GpuWeights& w, std::int64_t rows, const float* bias,
                   float* y, std::int64_t ldy) {
  QuantEpilogueCudaArgs args;
  args.float_sums = y;
  args.rows = rows;
  args.ld_sums = ldy;
  args.bias = bias;
  args.y = y;
  args.ldy = ldy;
  run_epilogue(stream, w, args);
}

void int8_epilogue(Stream& stream, const std::int32_t* sums, std::int64_t ld_sums,
                   const Int8Rows& x, std::int64_t rows, const GpuWeights& w, const float* bias,
                   bool accumulate, float* y, std::int64_t ldy) {
  QuantEpilogueCudaArgs args;
  args.int_sums = sums;
  args.x_scales = x.scales;
  args.group_sums = x.group_sums;
  args.rows = rows;
  args.ld_sums = ld_sums;
  args.bias = bias;
  args.accumulate = accumulate;
  args.y = y;
  args.ldy = ldy;
  run_epilogue(stream, w, args);
}

}  // namespace aquatint::kernels
