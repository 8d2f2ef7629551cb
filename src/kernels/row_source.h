// Rows of activations that a product with few rows makes itself, in each block of threads, from
// what earlier kernels left: a launch less for each normalization and gating, which on a GPU costs
// as much as making a row a hundred times at once. Plain data, shared by host and CUDA sources.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

// x [rows, ldx] in float32; then, with norm_columns, RMSNorm of each norm_columns of a row, times
// weight; then, with gate [rows, ld_gate], times silu(gate).
struct RowSource {
  const float* x = nullptr;
  int64_t ldx = 0;
  int64_t norm_columns = 0;
  const float* weight = nullptr;  // [norm_columns] or null
  float eps = 0;
  const float* gate = nullptr;
  int64_t ld_gate = 0;
};

}  // namespace aquatint::kernels
