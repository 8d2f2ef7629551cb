// Products of activations with group-wise quantized weights, y = x W^T + bias, on the packed bytes:
// int8 activations give exact integer dot products per group (a8), bfloat16 ones accumulate in
// float32 (a16). One row runs at the speed of memory, many rows at the speed of the dot-product
// instructions. The arithmetic and the measurements are in docs/kernels/quant_matmul.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cpu_features.h"
#include "device/stream.h"
#include "kernels/quant_matmul/quant_matmul_variants.h"
#include "kernels/row_source.h"
#include "packing/gpu_weights.h"
#include "packing/packed_weights.h"

namespace aquatint::kernels {

// What quantize_rows_int8 writes for the group size and count of the weights.
struct Int8Rows {
  const std::int8_t* values;       // [rows, padded_columns]
  const float* scales;             // [rows]
  const std::int32_t* group_sums;  // [rows, groups]
};

// What round_rows_bf16 writes for the group size and count of the weights, in its column order.
struct Bf16Rows {
  const std::uint16_t* values;  // [rows, padded_columns]
  const float* group_sums;      // [rows, groups]
};

// y[m * ldy + n] = x_scale[m] * sum_g s[n,g] * (float)(dot_u(n,g) - z[n,g] * xsum[m,g]) + bias[n]:
// sums over groups in ascending order, each step one fused multiply-add, so that all variants and
// thread counts give the same bits. bias [outputs] may be null; ldy >= outputs. Exact while a group
// has at most 65536 columns (int32).
void quant_matmul_a8(const Int8Rows& x, std::int64_t rows, const PackedWeights& w,
                     const float* bias, float* y, std::int64_t ldy);

// The same on bfloat16 activations, without x_scale. The integers of the weights are exact in
// bfloat16; sums are float32, in an order that depends on the variant and on whether rows is large.
void quant_matmul_a16(const Bf16Rows& x, std::int64_t rows, const PackedWeights& w,
                      const float* bias, float* y, std::int64_t ldy);

// The products on a GPU, where all pointers and the weights are; REQUIRES of all that follow: a
// GPU. docs/kernels/quant_matmul_cuda.md. Memory-bound up to kGpuFewRows rows; more rows are right
// but repeat the reading of the weights for each kGpuFewRows of them. With more rows, products that
// a library makes are faster: of dequantized weights, or of int8 weights with one group.
inline constexpr std::int64_t kGpuFewRows = 16;

// y[m * ldy + n] = x w^T + bias, or that added to y if `accumulate`; bias [outputs] may be null.
struct GpuProduct {
  const GpuWeights* w;
  const float* bias;
  float* y;
  std::int64_t ldy;
  bool accumulate = false;
};

// Whether one call may multiply the same activations with both: only their outputs differ.
bool can_share_launch(const GpuWeights& a, const GpuWeights& b);

// Products that share x, in as few launches as can be (each costs more than the bytes of one row
// with a small matrix). REQUIRES: all weights can share a launch, and no y overlaps another.
// The formula of the CPU: with one group the same bits, with more the same but for the order of the
// sum over groups, which may depend on how many outputs all products have together. x is quantized
// for w.group_size and w.groups; its rows are as long as their product.
void quant_matmul_a8(Stream& stream, const Int8Rows& x, std::int64_t rows,
                     std::span<const GpuProduct> products);
// x: bfloat16 [rows, ldx] in the order of the columns, of which the first w.columns are read; fast
// when ldx is a multiple of 8.
void quant_matmul_a16(Stream& stream, const std::uint16_t* x, std::int64_t ldx, std::int64_t rows,
                      std::span<const GpuProduct> products);
// One product.
void quant_matmul_a8(Stream& stream, const Int8Rows& x, std::int64_t rows, const GpuWeights& w,
                     const float* bias, float* y, std::int64_t ldy, bool accumulate = false);
void quant_matmul_a16(Stream& stream, const std::uint16_t* x, std::int64_t ldx, std::int64_t rows,
                      const GpuWeights& w, const float* bias, float* y, std::int64_t ldy,
                      bool accumulate = false);

// Dense weights, bfloat16 [outputs, columns] as they are, and where their product goes, as above.
struct GpuDenseProduct {
  const std::uint16_t* w;
  std::int64_t outputs, columns;
  const float* bias;
  float* y;
  std::int64_t ldy;
  bool accumulate = false;
};

// Products with bfloat16 weights in the same way, for rows up to kGpuFewRows: several in a launch.
// REQUIRES: equal columns, that takes_dense() is true of each, and no y overlaps another.
void dense_matmul_few(Stream& stream, const std::uint16_t* x, std::int64_t ldx, std::int64_t rows,
                      std::span<const GpuDenseProduct> products);
// Whether rows of so many columns from `w` on are what dense_matmul_few reads: 64 bytes at a time.
bool takes_dense(const std::uint16_t* w, std::int64_t columns);

// The same products of rows that they make themselves (row_source.h): x rounded to bfloat16, or in
// a8 quantized per row. `rider`, unless null, is a dense product of the same rows, rounded to
// bfloat16, with few outputs, that is made beside them; takes_dense() of its weights, which are not
// added to. No y may overlap what the source reads. Values that are not finite are reported with
// `tag`. REQUIRES: can_make_rows(); in a8 weights with one group.
void quant_matmul_a8(Stream& stream, const RowSource& x, std::int64_t rows,
                     std::span<const GpuProduct> products, const GpuDenseProduct* rider, int tag);
void quant_matmul_a16(Stream& stream, const RowSource& x, std::int64_t rows,
                      std::span<const GpuProduct> products, const GpuDenseProduct* rider, int tag);
// Whether products make such rows: few enough, not too long, and aligned to 16 bytes.
bool can_make_rows(const RowSource& x, std::int64_t rows, std::int64_t columns);

// A product that tiles finish: into y or, rounded to bfloat16, y16; exactly one of them is set.
struct TiledProduct {
  const GpuWeights* w;
  const float* bias;  // [outputs] or null
  float* y;           // [rows, ldy]
  std::uint16_t* y16;
  std::int64_t ldy;
  bool accumulate = false;  // adds to y, by an addition of its own; not with y16
};

// Whether quant_matmul_a8_tiles takes the weights there: 8 bits, one group, and a GPU of compute
// capability 9.0.
bool has_int8_tiles(Stream& stream, const GpuWeights& w);
// Whether rows of results of this length, one after the other from y on, are where tiles can write
// them: at multiples of 16 bytes.
template <typename T>
bool tiles_can_write(const T* y, std::int64_t ldy) {
  return reinterpret_cast<std::uintptr_t>(y) % 16 == 0 &&
         ldy % static_cast<std::int64_t>(16 / sizeof(T)) == 0;
}
// The products of quant_matmul_a8 with its bits, for many rows, bound by the tensor cores: nothing
// but results is written, but for zeros in what remains of 16 bytes at the end of a row. REQUIRES:
// has_int8_tiles and the same columns for all weights, tiles_can_write for all results, no two of
// which overlap; rows up to 2^31 - 1.
void quant_matmul_a8_tiles(Stream& stream, const Int8Rows& x, std::int64_t rows,
                           std::span<const TiledProduct> products);

// The weights as bfloat16 [w.outputs, ldo], 0 past w.columns; ldo >= w.columns. With one group: the
// integers q - zero, exactly, without the scale, which scale_outputs applies to their products.
void dequantize_bf16(Stream& stream, const GpuWeights& w, std::uint16_t* out, std::int64_t ldo);
// The same with ldo = w.padded_columns.
void dequantize_bf16(Stream& stream, const GpuWeights& w, std::uint16_t* out);
// y[m * ldy + n] = y[m * ldy + n] * scale[n] + bias[n]. REQUIRES: one group.
void scale_outputs(Stream& stream, const GpuWeights& w, std::int64_t rows, const float* bias,
                   float* y, std::int64_t ldy);
// From sums [rows, ld_sums] = x q^T, exact in int32, to the result of quant_matmul_a8, which is
// added to y if `accumulate`. REQUIRES: one group.
void int8_epilogue(Stream& stream, const std::int32_t* sums, std::int64_t ld_sums,
                   const Int8Rows& x, std::int64_t rows, const GpuWeights& w, const float* bias,
                   bool accumulate, float* y, std::int64_t ldy);

struct QuantMatmulVariant {
  Isa isa;
  QuantMatmulFn a8;
  QuantMatmulFn a16;
};
// Every variant compiled in, lowest first.
const std::vector<QuantMatmulVariant>& quant_matmul_variants();

}  // namespace aquatint::kernels
