// The inner loop of small matrix products that live in cache: a tile of V::kRows rows and two
// vectors of columns stays in registers while a loop runs over the depth. V is a Vec of simd_avx2.h
// or simd_avx512.h with kRows added by the kernel: 8 there, 6 here, so that accumulators cover the
// latency of the multiply-adds.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {
namespace {

template <typename V>
[[gnu::always_inline]] inline void multiply_add_step(typename V::Reg (&acc)[V::kRows][2],
                                                     const float* const (&rows)[V::kRows],
                                                     int64_t i, const float* b) {
  const auto b0 = V::load(b);
  const auto b1 = V::load(b + V::kWidth);
  for (int64_t r = 0; r < V::kRows; ++r) {
    const auto x = V::set(rows[r][i]);
    acc[r][0] = V::fma(x, b0, acc[r][0]);
    acc[r][1] = V::fma(x, b1, acc[r][1]);
  }
}

// A tile of V::kRows x two vectors stays in registers: acc += a[r][0..depth) * b[0..depth)[2
// vectors]. Four steps per turn: short depths lose a tenth to loop exits otherwise.
template <typename V>
[[gnu::always_inline]] inline void multiply_add(typename V::Reg (&acc)[V::kRows][2], const float* a,
                                                int64_t lda, const float* b, int64_t ldb,
                                                int64_t depth) {
  const float* rows[V::kRows];
  for (int64_t r = 0; r < V::kRows; ++r) rows[r] = a + r * lda;
  int64_t i = 0;
  for (; i + 4 <= depth; i += 4, b += 4 * ldb) {
    multiply_add_step<V>(acc, rows, i, b);
    multiply_add_step<V>(acc, rows, i + 1, b + ldb);
    multiply_add_step<V>(acc, rows, i + 2, b + 2 * ldb);
    multiply_add_step<V>(acc, rows, i + 3, b + 3 * ldb);
  }
  for (; i < depth; ++i, b += ldb) multiply_add_step<V>(acc, rows, i, b);
}

template <typename V>
[[gnu::always_inline]] inline void multiply_add_transposed_step(typename V::Reg (&acc)[V::kRows][2],
                                                                const float* a, const float* b) {
  const auto b0 = V::load(b);
  const auto b1 = V::load(b + V::kWidth);
  for (int64_t r = 0; r < V::kRows; ++r) {
    const auto x = V::set(a[r]);
    acc[r][0] = V::fma(x, b0, acc[r][0]);
    acc[r][1] = V::fma(x, b1, acc[r][1]);
  }
}

// The same with a transposed: acc += a[0..depth)[r] * b[0..depth)[2 vectors], rows of a `lda`
// apart.
template <typename V>
[[gnu::always_inline]] inline void multiply_add_transposed(typename V::Reg (&acc)[V::kRows][2],
                                                           const float* a, int64_t lda,
                                                           const float* b, int64_t ldb,
                                                           int64_t depth) {
  int64_t i = 0;
  for (; i + 4 <= depth; i += 4, a += 4 * lda, b += 4 * ldb) {
    multiply_add_transposed_step<V>(acc, a, b);
    multiply_add_transposed_step<V>(acc, a + lda, b + ldb);
    multiply_add_transposed_step<V>(acc, a + 2 * lda, b + 2 * ldb);
    multiply_add_transposed_step<V>(acc, a + 3 * lda, b + 3 * ldb);
  }
  for (; i < depth; ++i, a += lda, b += ldb) multiply_add_transposed_step<V>(acc, a, b);
}

}  // namespace
}  // namespace aquatint::kernels
