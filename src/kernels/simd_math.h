// Exponential and its kin on the vectors of simd_avx2.h and simd_avx512.h, written once over V =
// Vec. Relative error of vector_exp is below 2e-7 where the result is a normal number (tested); NaN
// stays NaN.
#pragma once

namespace aquatint::kernels {
namespace {

// e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln(2)/2. The polynomial is 1 + r + r^2 q(r), q
// interpolating at the Chebyshev nodes (relative error 1.04e-8). Beyond the clamps the result is 0
// or inf.
template <typename V>
typename V::Reg vector_exp(typename V::Reg x) {
  x = V::min(V::set(89.0F), V::max(V::set(-105.0F), x));
  const auto n = V::round(V::mul(x, V::set(1.44269504F)));
  auto r = V::fnma(n, V::set(0.693359375F), x);  // ln 2 to 9 bits, so that the product is exact
  r = V::fnma(n, V::set(-2.12194440e-4F), r);    // and the rest of ln 2
  auto q = V::set(0.0013926250394433737F);
  q = V::fma(q, r, V::set(0.00836323294788599F));
  q = V::fma(q, r, V::set(0.04166655242443085F));
  q = V::fma(q, r, V::set(0.16666576266288757F));
  q = V::fma(q, r, V::set(0.5F));
  const auto p = V::fma(V::mul(r, r), q, V::add(r, V::set(1.0F)));
  return V::scale(p, n);
}

// x * sigmoid(x).
template <typename V>
typename V::Reg vector_silu(typename V::Reg x) {
  const auto one = V::set(1.0F);
  return V::div(x, V::add(one, vector_exp<V>(V::sub(V::zero(), x))));
}

}  // namespace
}  // namespace aquatint::kernels
