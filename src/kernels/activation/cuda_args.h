// What the CUDA forms of activation.h work on.
#pragma once

#include <stdint.h>

#include "kernels/activation/activation_kind.h"
#include "kernels/row_sink.h"

namespace aquatint::kernels {

// y[i] = f(gate[i]) * up[i], or f(gate[i]) where `up` is null, for i < n.
struct ActivationCudaArgs {
  Activation activation = Activation::kIdentity;
  const float* gate = nullptr;
  const float* up = nullptr;
  float* y = nullptr;
  int64_t n = 0;
};

// The same over rows that leave in another form.
struct GatedRowsCudaArgs {
  Activation activation = Activation::kIdentity;
  const float* gate = nullptr;
  const float* up = nullptr;
  int64_t rows = 0, columns = 0;
  RowSink sink;
};

}  // namespace aquatint::kernels
