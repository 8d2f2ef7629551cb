// The forms of rms_norm written once over V = Vec and Q = Int8Vec; the instruction-set files
// instantiate them.
#pragma once

#include <math.h>

#include "kernels/rms_norm/rms_norm_internal.h"
#include "kernels/simd_lanes.h"
#include "kernels/simd_quantize.h"

namespace aquatint::kernels::detail {
namespace {

// The norms of rows, one vector at a time; `rest` lanes in the last one.
template <typename V, typename Q>
struct RmsNormBody {
  using Reg = typename V::Reg;

  // 1 / sqrt(mean(x^2) + eps); where `residual` is not null, of residual += x.
  static float inverse_rms(float* residual, const float* x, int64_t columns, float eps) {
    constexpr int kSums = 4;
    Reg sums[kSums] = {V::zero(), V::zero(), V::zero(), V::zero()};
    for (int64_t k = 0; k < columns; k += kSums * V::kWidth) {
      for (int i = 0; i < kSums; ++i) {
        const int64_t at = k + i * V::kWidth;
        if (at >= columns) break;
        Reg v = load_upto<V>(x + at, columns - at);
        if (residual != nullptr) {
          v = V::add(v, load_upto<V>(residual + at, columns - at));
          store_upto<V>(residual + at, v, columns - at);
        }
        sums[i] = V::fma(v, v, sums[i]);
      }
    }
    const float sum = V::sum(V::add(V::add(sums[0], sums[1]), V::add(sums[2], sums[3])));
    return 1.0F / sqrtf(sum / static_cast<float>(columns) + eps);
  }

  static Reg scaled(const float* x, const float* w, int64_t k, int64_t n, Reg inverse) {
    const Reg v = V::mul(load_upto<V>(x + k, n), inverse);
    return w != nullptr ? V::mul(v, load_upto<V>(w + k, n)) : v;
  }

  // y = x * inverse * w; returns the bits of the largest magnitude.
  static uint32_t scale_row(const float* x, const RmsNormArgs& a, float inverse, float* y) {
    auto magnitude = Q::no_magnitude();
    for (int64_t k = 0; k < a.columns; k += V::kWidth) {
      const Reg v = scaled(x, a.w, k, a.columns - k, V::set(inverse));
      store_upto<V>(y + k, v, a.columns - k);
      magnitude = Q::widen(magnitude, v);
    }
    return Q::largest(magnitude);
  }

  static bool norm(const RmsNormArgs& a, int64_t begin, int64_t end) noexcept {
    for (int64_t m = begin; m < end; ++m) {
      const float* x = a.x + m * a.columns;
      const float inverse = inverse_rms(nullptr, x, a.columns, a.eps);
      scale_row(x, a, inverse, a.y + m * a.columns);
    }
    return true;
  }

  static bool add_norm(const RmsNormArgs& a, int64_t begin, int64_t end) noexcept {
    for (int64_t m = begin; m < end; ++m) {
      float* residual = a.residual + m * a.columns;
      const float inverse = inverse_rms(residual, a.x + m * a.columns, a.columns, a.eps);
      scale_row(residual, a, inverse, a.y + m * a.columns);
    }
    return true;
  }

  static bool norm_int8(const RmsNormArgs& a, int64_t begin, int64_t end) noexcept {
    bool finite = true;
    for (int64_t m = begin; m < end; ++m) {
      const float* x = a.x + m * a.columns;
      const float inverse = inverse_rms(nullptr, x, a.columns, a.eps);
      const uint32_t absmax = scale_row(x, a, inverse, a.y);
      const QuantizedRow row{a.group_size, a.groups, a.values + m * a.group_size * a.groups,
                             a.scales + m, a.group_sums + m * a.groups};
      finite = quantize_row<V, Q>(a.y, a.columns, absmax, row) && finite;
    }
    return finite;
  }

  static bool norm_int8_static(const RmsNormArgs& a, int64_t begin, int64_t end) noexcept {
    auto magnitude = Q::no_magnitude();
    for (int64_t m = begin; m < end; ++m) {
      const float* x = a.x + m * a.columns;
      int8_t* values = a.values + m * a.columns;
      const Reg inverse = V::set(inverse_rms(nullptr, x, a.columns, a.eps));
      for (int64_t k = 0; k < a.columns; k += V::kWidth) {
        const Reg v = scaled(x, a.w, k, a.columns - k, inverse);
        magnitude = Q::widen(magnitude, v);
        // Clamped before the conversion to integers, which has no room for large quotients.
        const Reg q = V::max(V::div(v, V::set(a.scale)), V::set(-128.0F));
        Q::store(values + k, V::min(q, V::set(127.0F)), -128, a.columns - k);
      }
    }
    return Q::largest(magnitude) < kInfinityBits;
  }

  static constexpr RmsNormKernels kKernels{norm, add_norm, norm_int8, norm_int8_static};
};

}  // namespace
}  // namespace aquatint::kernels::detail
