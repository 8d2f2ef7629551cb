// The forms of layer_norm written once over V = Vec and Q = Int8Vec; the instruction-set files
// instantiate them.
#pragma once

#include <math.h>

#include "kernels/layer_norm/layer_norm_internal.h"
#include "kernels/simd_lanes.h"
#include "kernels/simd_quantize.h"

namespace aquatint::kernels::detail {
namespace {

template <typename V, typename Q>
struct LayerNormBody {
  using Reg = typename V::Reg;

  // Sum of f(vector of x at k, its lanes) over the row, in four sums.
  template <typename F>
  static float sum_of(const float* x, int64_t columns, const F& f) {
    constexpr int kSums = 4;
    Reg sums[kSums] = {V::zero(), V::zero(), V::zero(), V::zero()};
    for (int64_t k = 0; k < columns; k += kSums * V::kWidth) {
      for (int i = 0; i < kSums; ++i) {
        const int64_t at = k + i * V::kWidth;
        if (at >= columns) break;
        sums[i] = f(sums[i], load_upto<V>(x + at, columns - at), columns - at);
      }
    }
    return V::sum(V::add(V::add(sums[0], sums[1]), V::add(sums[2], sums[3])));
  }

  // Differences from the mean are squared, not the values: those may be far from zero together.
  static void moments(const float* x, int64_t columns, float eps, float* mean, float* inverse) {
    const auto n = static_cast<float>(columns);
    *mean = sum_of(x, columns, [](Reg sum, Reg v, int64_t) { return V::add(sum, v); }) / n;
    const Reg center = V::set(*mean);
    const auto square = [&](Reg sum, Reg v, int64_t lanes) {
      Reg d = V::sub(v, center);
      if (lanes < V::kWidth) {  // lanes past the end hold -mean
        alignas(64) float part[V::kWidth] = {};
        V::store_first(part, d, lanes);
        d = V::load(part);
      }
      return V::fma(d, d, sum);
    };
    *inverse = 1.0F / sqrtf(sum_of(x, columns, square) / n + eps);
  }

  // The normalized row; returns the bits of the largest magnitude.
  static uint32_t norm_row(const float* x, const LayerNormArgs& a, float* y) {
    float mean = 0, inverse = 0;
    moments(x, a.columns, a.eps, &mean, &inverse);
    const Reg center = V::set(mean), factor = V::set(inverse);
    auto magnitude = Q::no_magnitude();
    for (int64_t k = 0; k < a.columns; k += V::kWidth) {
      const int64_t n = a.columns - k;
      const Reg normalized = V::mul(V::sub(load_upto<V>(x + k, n), center), factor);
      const Reg v = V::fma(normalized, load_upto<V>(a.w + k, n),
                           load_upto<V>(a.b + k, n));  // past the end: 0
      store_upto<V>(y + k, v, n);
      magnitude = Q::widen(magnitude, v);
    }
    return Q::largest(magnitude);
  }

  static bool norm(const LayerNormArgs& a, int64_t begin, int64_t end) noexcept {
    for (int64_t m = begin; m < end; ++m) {
      norm_row(a.x + m * a.columns, a, a.y + m * a.columns);
    }
    return true;
  }

  static bool norm_int8(const LayerNormArgs& a, int64_t begin, int64_t end) noexcept {
    bool finite = true;
    for (int64_t m = begin; m < end; ++m) {
      const uint32_t absmax = norm_row(a.x + m * a.columns, a, a.y);
      const QuantizedRow row{a.group_size, a.groups, a.values + m * a.group_size * a.groups,
                             a.scales + m, a.group_sums + m * a.groups};
      finite = quantize_row<V, Q>(a.y, a.columns, absmax, row) && finite;
    }
    return finite;
  }

  static constexpr LayerNormKernels kKernels{norm, norm_int8};
};

}  // namespace
}  // namespace aquatint::kernels::detail
