// The gated norm of groups written once over the vector type V; the instruction set files
// instantiate it. With the gate first, gated values are written to y and scaled there: a group is
// still in the first-level cache.
#pragma once

#include <math.h>

#include "kernels/gated_group_norm/gated_group_norm_args.h"
#include "kernels/simd_lanes.h"
#include "kernels/simd_math.h"

namespace aquatint::kernels {
namespace {

// Calls each(offset, lanes) for every vector of n values, the last maybe with fewer lanes.
template <typename V, typename Each>
[[gnu::always_inline]] inline void for_vectors(int64_t n, const Each& each) {
  int64_t j = 0;
  for (; j + V::kWidth <= n; j += V::kWidth) each(j, V::kWidth);
  if (j < n) each(j, n - j);
}
template <typename V, GateOrder kOrder>
void gated_group(const float* x, const float* gate, const float* w, int64_t size, float eps,
                 float* y) {
  auto even = V::zero(), odd = V::zero();  // two sums, so that adding does not wait for adding
  for_vectors<V>(size, [&](int64_t j, int64_t n) {
    auto v = load_upto<V>(x + j, n);
    if constexpr (kOrder != GateOrder::kNormFirst) {
      v = V::mul(v, vector_silu<V>(load_upto<V>(gate + j, n)));
      store_upto<V>(y + j, v, n);
    }
    if constexpr (kOrder != GateOrder::kGateOnly) {
      auto& sum = (j / V::kWidth) % 2 == 0 ? even : odd;
      sum = V::fma(v, v, sum);
    }
  });
  if constexpr (kOrder == GateOrder::kGateOnly) return;
  const float squares = V::sum(V::add(even, odd));
  const auto scale = V::set(1.0F / sqrtf(squares / static_cast<float>(size) + eps));
  for_vectors<V>(size, [&](int64_t j, int64_t n) {
    constexpr bool kNormFirst = kOrder == GateOrder::kNormFirst;
    auto v =
        V::mul(load_upto<V>((kNormFirst ? x : y) + j, n), V::mul(scale, load_upto<V>(w + j, n)));
    if constexpr (kNormFirst) v = V::mul(v, vector_silu<V>(load_upto<V>(gate + j, n)));
    store_upto<V>(y + j, v, n);
  });
}

template <typename V, GateOrder kOrder>
void gated_group_rows(const GatedGroupNormArgs& args, int64_t begin, int64_t end) {
  const int64_t columns = args.groups * args.size;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t at = 0; at < columns; at += args.size) {
      gated_group<V, kOrder>(args.x + row * columns + at, args.gate + row * args.ld_gate + at,
                             args.w + at, args.size, args.eps, args.y + row * columns + at);
    }
  }
}

template <typename V>
void gated_group_norm_body(const GatedGroupNormArgs& args, int64_t begin, int64_t end) {
  switch (args.order) {
    case GateOrder::kGateFirst:
      return gated_group_rows<V, GateOrder::kGateFirst>(args, begin, end);
    case GateOrder::kNormFirst:
      return gated_group_rows<V, GateOrder::kNormFirst>(args, begin, end);
    case GateOrder::kGateOnly:
      return gated_group_rows<V, GateOrder::kGateOnly>(args, begin, end);
  }
}

}  // namespace
}  // namespace aquatint::kernels
