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

// 2^x for x <= 0, for decays: relative error below 2e-7, and below 2^-126 that number. 1 + r q(r)
// with |r| <= 1/2 and q a minimax fit (relative error 1.1e-7), so that decays near 1 are exact to
// their last bit. NaN stays NaN.
template <typename V>
[[gnu::always_inline]] inline typename V::Reg vector_exp2_decay(typename V::Reg x) {
  x = V::max(V::set(-126.0F), x);  // the second operand wins when it is NaN
  const auto n = V::round(x);
  const auto r = V::sub(x, n);
  auto q = V::set(0.0013264727F);
  q = V::fma(q, r, V::set(0.009671513F));
  q = V::fma(q, r, V::set(0.055507336F));
  q = V::fma(q, r, V::set(0.24022242F));
  q = V::fma(q, r, V::set(0.693147F));
  return V::scale_normal(V::fma(q, r, V::set(1.0F)), n);
}

// log(1 + e) for 0 <= e <= 1 as 2 atanh(e / (2 + e)), which stays exact for tiny e; relative error
// below 2e-7. The polynomial is a minimax fit of atanh(t)/t in t^2 (relative error 4e-9).
template <typename V>
typename V::Reg vector_log1p_unit(typename V::Reg e) {
  const auto t = V::div(e, V::add(V::set(2.0F), e));
  const auto z = V::mul(t, t);
  auto p = V::set(0.140891675F);
  p = V::fma(p, z, V::set(0.139803014F));
  p = V::fma(p, z, V::set(0.200124551F));
  p = V::fma(p, z, V::set(0.333331573F));
  p = V::fma(p, z, V::set(1.0F));
  return V::mul(V::add(t, t), p);
}

// log(1 + e^x), within 4e-7 relative where the result is a normal number; NaN stays NaN.
template <typename V>
typename V::Reg vector_softplus(typename V::Reg x) {
  const auto minus_abs = V::min(V::sub(V::zero(), x), x);
  return V::add(V::max(V::zero(), x), vector_log1p_unit<V>(vector_exp<V>(minus_abs)));
}

// x * sigmoid(x).
template <typename V>
typename V::Reg vector_silu(typename V::Reg x) {
  const auto one = V::set(1.0F);
  return V::div(x, V::add(one, vector_exp<V>(V::sub(V::zero(), x))));
}

}  // namespace
}  // namespace aquatint::kernels
