// What the CUDA forms of quant_matmul.h work on. Pointers are to the memory of the GPU.
#pragma once

#include <stdint.h>

#include "kernels/row_source.h"

namespace aquatint::kernels {

// packing/gpu_weights.h, plain; or with 16 bits rows of bfloat16, without scales, of which
// padded_columns are a multiple of 32.
struct QuantWeightsCuda {
  const uint8_t* data = nullptr;
  const float* scales = nullptr;
  const int8_t* zeros = nullptr;  // null when symmetric
  int bits = 0;
  int64_t outputs = 0, columns = 0, padded_columns = 0, group_size = 0, groups = 0;
};

// One of the products that share activations: y = x w^T + bias, or y += that if `accumulate`.
struct QuantProductCuda {
  QuantWeightsCuda w;
  const float* bias = nullptr;  // [outputs] or null
  float* y = nullptr;           // [rows, ldy]
  int64_t ldy = 0;
  bool accumulate = false;
};

inline constexpr int kMostProducts = 6;  // of one launch

// The most rows, and columns, of a source (row_source.h).
inline constexpr int kMostMadeRows = 4, kMostMadeColumns = 8192;

// Activations are x16, or x8 with its scales and sums, or made from the source if it has an x. The
// weights of all products have the same form: only their outputs differ.
struct QuantMatmulCudaArgs {
  const uint16_t* x16 = nullptr;        // bfloat16 [rows, ldx]
  const int8_t* x8 = nullptr;           // [rows, ldx], 0 past the weights' columns
  const float* x_scales = nullptr;      // [rows], with x8
  const int32_t* group_sums = nullptr;  // [rows, groups], with x8
  int64_t rows = 0, ldx = 0;
  RowSource source;
  int count = 0;  // of products
  QuantProductCuda products[kMostProducts];
  // With a source: another product of the same rows, rounded to bfloat16, with few outputs and
  // weights of 16 bits; or no outputs.
  QuantProductCuda rider;
};

// One of the products that tiles make together: y or, rounded, y16 (exactly one of them is set).
struct Int8ProductCuda {
  QuantWeightsCuda w;           // 8 bits, one group
  const float* bias = nullptr;  // [outputs] or null
  float* y = nullptr;           // [rows, ldy]
  uint16_t* y16 = nullptr;      // bfloat16 [rows, ldy]
  int64_t ldy = 0;
  bool accumulate = false;  // y += the product; not with y16
};

struct Int8TilesCudaArgs {
  const int8_t* x8 = nullptr;           // [rows, ldx], 0 past the weights' columns
  const float* x_scales = nullptr;      // [rows]
  const int32_t* group_sums = nullptr;  // [rows]
  int64_t rows = 0, ldx = 0;
  int count = 0;  // of products, with the same columns
  Int8ProductCuda products[kMostProducts];
};

struct DequantizeCudaArgs {
  QuantWeightsCuda w;
  uint16_t* out = nullptr;  // bfloat16 [outputs, ldo], 0 past columns
  int64_t ldo = 0;
};

// Exactly one of int_sums and float_sums is set; float_sums may be y.
struct QuantEpilogueCudaArgs {
  QuantWeightsCuda w;                   // one group
  const int32_t* int_sums = nullptr;    // [rows, ld_sums]
  const float* float_sums = nullptr;    // [rows, ld_sums]
  const float* x_scales = nullptr;      // with int_sums
  const int32_t* group_sums = nullptr;  // with int_sums
  int64_t rows = 0, ld_sums = 0;
  const float* bias = nullptr;
  bool accumulate = false;
  float* y = nullptr;  // [rows, ldy]
  int64_t ldy = 0;
};

}  // namespace aquatint::kernels
