// The kernel bodies of embedding: one row to float32. Plain declarations only, so that files
// compiled for an instruction set can include it.
#pragma once

#include <cstdint>

namespace aquatint::kernels::detail {

// n elements at `row`, which need not be aligned, times `scale` where the type has one.
using EmbedRowFunction = void (*)(const void* row, float scale, std::int64_t n, float* y) noexcept;

struct EmbeddingKernels {
  EmbedRowFunction f32, f16, bf16, i8;
};

extern const EmbeddingKernels kEmbeddingReference;
extern const EmbeddingKernels kEmbeddingAvx2;

}  // namespace aquatint::kernels::detail
