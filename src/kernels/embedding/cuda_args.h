// What one call of the CUDA form of embedding.h works on.
#pragma once

#include <stdint.h>

namespace aquatint::kernels {

enum class EmbeddingTable : int32_t { kF32, kF16, kBF16, kInt8 };

struct EmbeddingCudaArgs {
  EmbeddingTable type = EmbeddingTable::kF32;
  const void* table = nullptr;    // [vocabulary, columns], aligned to its elements
  const float* scales = nullptr;  // [vocabulary], with int8
  const int32_t* ids = nullptr;   // [rows], each inside the vocabulary
  float* y = nullptr;             // [rows, columns]
  int64_t rows = 0, columns = 0;
};

}  // namespace aquatint::kernels
