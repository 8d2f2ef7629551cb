// The activation functions and their fused forms written once over V = Vec and Q = Int8Vec; the
// instruction-set files instantiate them.
#pragma once

#include "kernels/activation/activation_internal.h"
#include "kernels/simd_math.h"
#include "kernels/simd_quantize.h"

namespace aquatint::kernels::detail {
namespace {

template <typename V>
typename V::Reg vector_sigmoid(typename V::Reg x) {
  const auto one = V::set(1.0F);
  return V::div(one, V::add(one, vector_exp<V>(V::sub(V::zero(), x))));
}

// min(x, 0) - log(1 + e) with e = exp(-|x|). log(1 + e) = 2 atanh(t), t = e / (2 + e) <= 1/3, which
// keeps its relative accuracy for tiny e; the series of atanh(t) / t ends below 1e-8.
template <typename V>
typename V::Reg vector_log_sigmoid(typename V::Reg x) {
  // The second operand of V::min and V::max wins when either is NaN.
  const auto e = vector_exp<V>(V::min(V::sub(V::zero(), x), x));
  const auto t = V::div(e, V::add(V::set(2.0F), e));
  const auto z = V::mul(t, t);
  auto p = V::set(1.0F / 15);
  for (int odd = 13; odd > 0; odd -= 2) {
    p = V::fma(p, z, V::set(1.0F / static_cast<float>(odd)));
  }
  return V::sub(V::min(V::zero(), x), V::mul(V::add(t, t), p));
}

// (1 + tanh(u)) / 2 = sigmoid(2u).
template <typename V>
typename V::Reg vector_gelu_tanh(typename V::Reg x) {
  const auto cubic = V::fma(V::mul(x, x), V::set(0.044715F), V::set(1.0F));
  const auto two_u = V::mul(V::mul(x, V::set(1.5957691216F)), cubic);
  return V::mul(x, vector_sigmoid<V>(two_u));
}

// max(x, 0) - |x| erfc(z) / 2 with z = |x| / sqrt(2): no difference of nearly equal numbers on
// either side. erfc(z) = t e^(p(t) - z^2) with t = 1 / (1 + z/2), p interpolating at the Chebyshev
// nodes (relative error of erfc 4.8e-8).
template <typename V>
typename V::Reg vector_gelu(typename V::Reg x) {
  constexpr float kCoefficients[] = {0.143224671F,  -0.671311081F, 1.133697867F,  -0.664571285F,
                                     -0.107486598F, 0.016351003F,  0.0292226803F, 0.387826413F,
                                     0.998486757F,  -1.265440345F};
  const auto magnitude = V::max(V::sub(V::zero(), x), x);
  const auto z = V::mul(magnitude, V::set(0.70710678F));
  const auto t = V::div(V::set(1.0F), V::fma(V::set(0.5F), z, V::set(1.0F)));
  auto p = V::zero();
  for (const float c : kCoefficients) p = V::fma(p, t, V::set(c));
  const auto tail = V::mul(V::mul(V::set(0.5F), t), vector_exp<V>(V::fnma(z, z, p)));
  return V::fnma(magnitude, tail, V::max(V::zero(), x));
}

template <typename V, Activation kind>
typename V::Reg vector_activation(typename V::Reg x) {
  switch (kind) {
    case Activation::kIdentity:
      return x;
    case Activation::kSilu:
      return vector_silu<V>(x);
    case Activation::kRelu:
      return V::max(V::zero(), x);
    case Activation::kSigmoid:
      return vector_sigmoid<V>(x);
    case Activation::kLogSigmoid:
      return vector_log_sigmoid<V>(x);
    case Activation::kSquaredRelu:
      return V::mul(V::max(V::zero(), x), V::max(V::zero(), x));
    case Activation::kGeluTanh:
      return vector_gelu_tanh<V>(x);
    case Activation::kGelu:
      return vector_gelu<V>(x);
  }
  return x;
}

template <typename V, typename Q>
struct ActivationBody {
  // y = f(gate) * up, or f(gate) where `up` is null; returns the bits of the largest magnitude.
  template <Activation kind>
  static uint32_t gated_row(const float* gate, const float* up, int64_t n, float* y) {
    auto magnitude = Q::no_magnitude();
    int64_t i = 0;
    for (; i + V::kWidth <= n; i += V::kWidth) {
      auto v = vector_activation<V, kind>(V::load(gate + i));
      if (up != nullptr) v = V::mul(v, V::load(up + i));
      V::store(y + i, v);
      magnitude = Q::widen(magnitude, v);
    }
    if (const int64_t rest = n - i; rest > 0) {
      auto v = vector_activation<V, kind>(V::load_first(gate + i, rest));
      if (up != nullptr) v = V::mul(v, V::load_first(up + i, rest));
      V::store_first(y + i, v, rest);
      // Lanes past the end hold f(0), which may be the largest.
      alignas(64) float lanes[V::kWidth] = {};
      V::store_first(lanes, v, rest);
      magnitude = Q::widen(magnitude, V::load(lanes));
    }
    return Q::largest(magnitude);
  }

  static uint32_t dispatch(Activation kind, const float* gate, const float* up, int64_t n,
                           float* y) {
    switch (kind) {
      case Activation::kIdentity:
        return gated_row<Activation::kIdentity>(gate, up, n, y);
      case Activation::kSilu:
        return gated_row<Activation::kSilu>(gate, up, n, y);
      case Activation::kRelu:
        return gated_row<Activation::kRelu>(gate, up, n, y);
      case Activation::kSigmoid:
        return gated_row<Activation::kSigmoid>(gate, up, n, y);
      case Activation::kLogSigmoid:
        return gated_row<Activation::kLogSigmoid>(gate, up, n, y);
      case Activation::kSquaredRelu:
        return gated_row<Activation::kSquaredRelu>(gate, up, n, y);
      case Activation::kGeluTanh:
        return gated_row<Activation::kGeluTanh>(gate, up, n, y);
      case Activation::kGelu:
        return gated_row<Activation::kGelu>(gate, up, n, y);
    }
    return 0;
  }

  static void gated(Activation kind, const float* gate, const float* up, int64_t n,
                    float* y) noexcept {
    dispatch(kind, gate, up, n, y);
  }

  static bool gated_int8(Activation kind, const GatedInt8Args& a, int64_t begin,
                         int64_t end) noexcept {
    bool finite = true;
    for (int64_t m = begin; m < end; ++m) {
      const float* gate = a.gate + m * a.columns;
      const float* up = a.up != nullptr ? a.up + m * a.columns : nullptr;
      const uint32_t absmax = dispatch(kind, gate, up, a.columns, a.buffer);
      const QuantizedRow row{a.group_size, a.groups, a.values + m * a.group_size * a.groups,
                             a.scales + m, a.group_sums + m * a.groups};
      finite = quantize_row<V, Q>(a.buffer, a.columns, absmax, row) && finite;
    }
    return finite;
  }

  static constexpr ActivationKernels kKernels{gated, gated_int8};
};

}  // namespace
}  // namespace aquatint::kernels::detail
