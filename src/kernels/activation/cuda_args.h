// What the CUDA forms of activation.h work on.
#pragma once

#include <stdint.h>

#include "kernels/activation/activation_kind.h"
#include "kernels/product_view.h"
#include "kernels/row_sink.h"

namespace aquatint::kernels {

// x[i] = f(x[i]) for i < n.
struct ActivationCudaArgs {
  Activation activation = Activation::kIdentity;
  float* x = nullptr;
  int64_t n = 0;
};

// f(gate) * up, [rows, columns].
struct GatedRowsCudaArgs {
  Activation activation = Activation::kIdentity;
  ProductView gate, up;
  int64_t rows = 0, columns = 0;
  RowSink sink;
};

}  // namespace aquatint::kernels
