#include <algorithm>
#include <cmath>

#include "kernels/layer_norm/layer_norm_internal.h"

namespace aquatint::kernels::detail {
namespace {

void norm_row(const float* x, const LayerNormArgs& a, float* y) {
  double mean = 0, variance = 0;
  for (std::int64_t k = 0; k < a.columns; ++k) mean += static_cast<double>(x[k]);
  mean /= static_cast<double>(a.columns);
  for (std::int64_t k = 0; k < a.columns; ++k) {
    const double d = static_cast<double>(x[k]) - mean;
    variance += d * d;
  }
  variance /= static_cast<double>(a.columns);
  const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(a.eps));
  for (std::int64_t k = 0; k < a.columns; ++k) {
    y[k] = static_cast<float>((static_cast<double>(x[k]) - mean) * inverse *
                                  static_cast<double>(a.w[k]) +
                              static_cast<double>(a.b[k]));
  }
}

bool norm(const LayerNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  for (std::int64_t m = begin; m < end; ++m) {
    norm_row(a.x + m * a.columns, a, a.y + m * a.columns);
  }
  return true;
}

// Row m of the dynamic form from its normalized values.
bool quantize_row(const LayerNormArgs& a, std::int64_t m, const float* y) {
  const std::int64_t padded = a.group_size * a.groups;
  std::int8_t* values = a.values + m * padded;
  float absmax = 0;
  bool finite = true;
  for (std::int64_t k = 0; k < a.columns; ++k) {
    finite = finite && std::isfinite(y[k]);
    absmax = std::max(absmax, std::abs(y[k]));
  }
  const bool zero = !finite || absmax < kLayerNormSmallestAbsmax;
  a.scales[m] = zero ? 0.0f : absmax / 127.0f;
  const float inverse = zero ? 0.0f : 127.0f / absmax;
  for (std::int64_t k = 0; k < padded; ++k) {
    const float q = k < a.columns && !zero ? std::rint(y[k] * inverse) : 0.0f;
    values[k] = static_cast<std::int8_t>(std::clamp(q, -127.0f, 127.0f));
  }
  for (std::int64_t g = 0; g < a.groups; ++g) {
    std::int32_t sum = 0;
    for (std::int64_t k = 0; k < a.group_size; ++k) sum += values[g * a.group_size + k];
    a.group_sums[m * a.groups + g] = sum;
  }
  return finite;
}

bool norm_int8(const LayerNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  bool finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    norm_row(a.x + m * a.columns, a, a.y);
    finite = quantize_row(a, m, a.y) && finite;
  }
  return finite;
}

}  // namespace

const LayerNormKernels kLayerNormReference{norm, norm_int8};

}  // namespace aquatint::kernels::detail
