#include <cmath>

#include "kernels/activation/activation_internal.h"
#include "kernels/quantize_reference.h"

namespace aquatint::kernels::detail {
namespace {

double apply(Activation activation, double x) {
  switch (activation) {
    case Activation::kIdentity:
      return x;
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kRelu:
      return x < 0 ? 0.0 : x;
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::kLogSigmoid:
      return (x < 0 ? x : 0.0) - std::log1p(std::exp(-std::abs(x)));
    case Activation::kSquaredRelu:
      return x < 0 ? 0.0 : x * x;
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x * 0.7071067811865476);
    case Activation::kGeluTanh:
      break;
  }
  constexpr double kSqrtTwoOverPi = 0.7978845608028654;
  return 0.5 * x * (1 + std::tanh(kSqrtTwoOverPi * (x + 0.044715 * x * x * x)));
}

void gated(Activation activation, const float* gate, const float* up, std::int64_t n,
           float* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<float>(apply(activation, static_cast<double>(gate[i])));
    y[i] = up != nullptr ? value * up[i] : value;
  }
}

bool gated_int8(Activation activation, const GatedInt8Args& a, std::int64_t begin,
                std::int64_t end) noexcept {
  bool finite = true;
  for (std::int64_t m = begin; m < end; ++m) {
    const float* up = a.up != nullptr ? a.up + m * a.columns : nullptr;
    gated(activation, a.gate + m * a.columns, up, a.columns, a.buffer);
    const QuantizedRow row{a.group_size, a.groups, a.values + m * a.group_size * a.groups,
                           a.scales + m, a.group_sums + m * a.groups};
    finite = quantize_row_reference(a.buffer, a.columns, row) && finite;
  }
  return finite;
}

}  // namespace

const ActivationKernels kActivationReference{gated, gated_int8};

}  // namespace aquatint::kernels::detail
