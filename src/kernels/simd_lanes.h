// Loads and stores at the end of a row, where fewer values are left than a vector has lanes. V is a
// Vec of simd_avx2.h or simd_avx512.h.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {
namespace {

// All of a vector's lanes if n values are left or more, else the first n; the others load zeros.
template <typename V>
[[gnu::always_inline]] inline typename V::Reg load_upto(const float* p, int64_t n) {
  return n >= V::kWidth ? V::load(p) : V::load_first(p, n);
}
template <typename V>
[[gnu::always_inline]] inline void store_upto(float* p, typename V::Reg x, int64_t n) {
  if (n >= V::kWidth) {
    V::store(p, x);
  } else {
    V::store_first(p, x, n);
  }
}

}  // namespace
}  // namespace aquatint::kernels
