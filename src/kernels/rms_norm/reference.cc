#include <algorithm>
#include <cmath>

#include "kernels/quantize_reference.h"
#include "kernels/rms_norm/rms_norm_internal.h"

namespace aquatint::kernels::detail {
namespace {

void norm_row(const float* x, const float* w, std::int64_t columns, float eps, float* y) {
  double sum = 0;
  for (std::int64_t k = 0; k < columns; ++k) {
    sum += static_cast<double>(x[k]) * static_cast<double>(x[k]);
  }
  const float inverse =
      1.0f / std::sqrt(static_cast<float>(sum / static_cast<double>(columns)) + eps);
  for (std::int64_t k = 0; k < columns; ++k) {
    const float normalized = x[k] * inverse;
    y[k] = w != nullptr ? normalized * w[k] : normalized;
  }
}

bool norm(const RmsNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  for (std::int64_t m = begin; m < end; ++m) {
    norm_row(a.x + m * a.columns, a.w, a.columns, a.eps, a.y + m * a.columns);
  }
  return true;
}

bool add_norm(const RmsNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  for (std::int64_t m = begin; m < end; ++m) {
    float* residual = a.residual + m * a.columns;
    for (std::int64_t k = 0; k < a.columns; ++k) residual[k] += a.x[m * a.columns + k];
    norm_row(residual, a.w, a.columns, a.eps, a.y + m * a.columns);
  }
  return true;
}

// Where row m of the dynamic form goes.
QuantizedRow quantized_row(const RmsNormArgs& a, std::int64_t m) {
  return {a.group_size, a.groups, a.values + m * a.group_size * a.groups, a.scales + m,
          a.group_sums + m * a.groups};
}

bool norm_int8(const RmsNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  bool finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    norm_row(a.x + m * a.columns, a.w, a.columns, a.eps, a.y);
    finite = quantize_row_reference(a.y, a.columns, quantized_row(a, m)) && finite;
  }
  return finite;
}

bool norm_int8_static(const RmsNormArgs& a, std::int64_t begin, std::int64_t end) noexcept {
  bool finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    norm_row(a.x + m * a.columns, a.w, a.columns, a.eps, a.y);
    for (std::int64_t k = 0; k < a.columns; ++k) {
      finite = finite && std::isfinite(a.y[k]);
      const float q = std::isfinite(a.y[k]) ? std::rint(a.y[k] / a.scale) : 0.0f;
      a.values[m * a.columns + k] = static_cast<std::int8_t>(std::clamp(q, -128.0f, 127.0f));
    }
  }
  return finite;
}

}  // namespace

const RmsNormKernels kRmsNormReference{norm, add_norm, norm_int8, norm_int8_static};

}  // namespace aquatint::kernels::detail
