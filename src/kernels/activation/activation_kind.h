// The elementwise functions of the models. Apart from activation.h so that kernel bodies can
// include it.
#pragma once

namespace aquatint::kernels {

enum class Activation {
  kIdentity,
  kSilu,         // x * sigmoid(x), also called swish
  kRelu,         // max(x, 0)
  kSigmoid,      // 1 / (1 + exp(-x))
  kLogSigmoid,   // -log(1 + exp(-x))
  kSquaredRelu,  // max(x, 0)^2
  kGeluTanh,     // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
  kGelu,         // x / 2 * (1 + erf(x / sqrt(2)))
};

}  // namespace aquatint::kernels
