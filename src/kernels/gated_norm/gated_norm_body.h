// The gated norm written once over the vector type V; the instruction set files instantiate it.
#pragma once

#include <math.h>

#include "kernels/gated_norm/gated_norm_args.h"
#include "kernels/simd_math.h"

namespace aquatint::kernels {
namespace {

template <typename V>
float inverse_rms(const float* o, int64_t dv, float eps) {
  constexpr int64_t kW = V::kWidth;
  auto s0 = V::zero(), s1 = V::zero(), s2 = V::zero(), s3 = V::zero();
  int64_t j = 0;
  for (; j + 4 * kW <= dv; j += 4 * kW) {
    const auto a = V::load(o + j), b = V::load(o + j + kW);
    const auto c = V::load(o + j + 2 * kW), d = V::load(o + j + 3 * kW);
    s0 = V::fma(a, a, s0);
    s1 = V::fma(b, b, s1);
    s2 = V::fma(c, c, s2);
    s3 = V::fma(d, d, s3);
  }
  for (; j < dv; j += kW) {
    const auto a = V::load_first(o + j, dv - j < kW ? dv - j : kW);
    s0 = V::fma(a, a, s0);
  }
  const float squares = V::sum(V::add(V::add(s0, s1), V::add(s2, s3)));
  return 1.0F / sqrtf(squares / static_cast<float>(dv) + eps);
}

template <typename V, bool kGate>
typename V::Reg gated(typename V::Reg o, typename V::Reg scale, typename V::Reg gate) {
  o = V::mul(o, scale);
  if constexpr (kGate) o = V::mul(o, vector_silu<V>(gate));
  return o;
}

template <typename V, bool kGate, bool kWeight>
void gated_norm_vectors(const GatedNormArgs& args, int64_t begin, int64_t end) {
  constexpr int64_t kW = V::kWidth;
  const int64_t whole = args.dv / kW * kW;
  for (int64_t vector = begin; vector < end; ++vector) {
    const float* o = args.o + vector * args.dv;
    const float* gate = kGate ? args.gate + vector * args.dv : o;
    float* y = args.y + vector * args.dv;
    const auto inverse = V::set(inverse_rms<V>(o, args.dv, args.eps));
    for (int64_t j = 0; j < whole; j += kW) {
      const auto scale = kWeight ? V::mul(inverse, V::load(args.w + j)) : inverse;
      V::store(y + j, gated<V, kGate>(V::load(o + j), scale, V::load(gate + j)));
    }
    if (const int64_t rest = args.dv - whole; rest > 0) {
      const auto scale = kWeight ? V::mul(inverse, V::load_first(args.w + whole, rest)) : inverse;
      const auto last =
          gated<V, kGate>(V::load_first(o + whole, rest), scale, V::load_first(gate + whole, rest));
      V::store_first(y + whole, last, rest);
    }
  }
}

template <typename V>
void gated_norm_body(const GatedNormArgs& args, int64_t begin, int64_t end) {
  if (args.gate != nullptr) {
    return args.w != nullptr ? gated_norm_vectors<V, true, true>(args, begin, end)
                             : gated_norm_vectors<V, true, false>(args, begin, end);
  }
  return args.w != nullptr ? gated_norm_vectors<V, false, true>(args, begin, end)
                           : gated_norm_vectors<V, false, false>(args, begin, end);
}

}  // namespace
}  // namespace aquatint::kernels
