#include <algorithm>
#include <cmath>

#include "kernels/layer_norm/layer_norm_internal.h"
#include "kernels/quantize_reference.h"

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

// Where row m of the dynamic form goes.
QuantizedRow quantized_row(const LayerNormArgs& a, std::int64_t m) {
  return {a.group_size, a.groups, a.values + m * a.group_size * a.groups, a.scales + m,
          a.group_sums + m * a.groups};
}

bool norm_int8(const LayerNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  bool finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    norm_row(a.x + m * a.columns, a, a.y);
    finite = quantize_row_reference(a.y, a.columns, quantized_row(a, m)) && finite;
  }
  return finite;
}

}  // namespace

const LayerNormKernels kLayerNormReference{norm, norm_int8};

}  // namespace aquatint::kernels::detail
