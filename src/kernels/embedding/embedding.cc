#include "kernels/embedding/embedding.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/embedding/cuda_args.h"
#include "kernels/embedding/variants.h"

namespace aquatint::kernels {
namespace {

// Fewer elements than this are not worth waking another thread for.
constexpr std::int64_t kElementsPerThread = 32768;

const detail::EmbeddingKernels& kernels() {
  static const detail::EmbeddingKernels* const chosen = [] {
    const detail::EmbeddingKernels* best = nullptr;
    for (const auto& variant : detail::embedding_variants()) {
      if (variant.isa <= active_isa()) best = variant.kernels;
    }
    return best;
  }();
  return *chosen;
}

// y[i, :] = the row of ids[i], of `row_bytes` bytes, through `function`; `scales` may be null.
void gather(detail::EmbedRowFunction function, const void* table, std::size_t row_bytes,
            const float* scales, std::int64_t vocabulary, std::int64_t columns,
            const std::int32_t* ids, std::int64_t rows, float* y) {
  for (std::int64_t i = 0; i < rows; ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary) {
      raise(ErrorKind::kInvalidArgument,
            "token id {} at position {} is outside the vocabulary of {} tokens", ids[i], i,
            vocabulary);
    }
  }
  const std::int64_t grain = std::max<std::int64_t>(1, kElementsPerThread / columns);
  parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto id = static_cast<std::size_t>(ids[i]);
      const auto* row = static_cast<const std::byte*>(table) + id * row_bytes;
      function(row, scales != nullptr ? scales[id] : 1.0f, columns, y + i * columns);
    }
  });
}

void run_cuda(Stream& stream, const EmbeddingCudaArgs& args) {
  static const CudaKernel<EmbeddingCudaArgs> kernel("aquatint_cuda_embedding");
  AQUATINT_ASSERT(args.columns > 0 && args.rows >= 0);
  kernel(stream, args);
}

}  // namespace

void embed_rows(const void* table, DType dtype, std::int64_t vocabulary, std::int64_t columns,
                const std::int32_t* ids, std::int64_t rows, float* y) {
  AQUATINT_ASSERT(columns > 0 && is_float(dtype));
  const auto& k = kernels();
  const auto function = dtype == DType::kF32 ? k.f32 : dtype == DType::kF16 ? k.f16 : k.bf16;
  const std::size_t row_bytes = static_cast<std::size_t>(columns) * dtype_size(dtype);
  gather(function, table, row_bytes, nullptr, vocabulary, columns, ids, rows, y);
}

void embed_rows_int8(const std::int8_t* values, const float* scales, std::int64_t vocabulary,
                     std::int64_t columns, const std::int32_t* ids, std::int64_t rows, float* y) {
  AQUATINT_ASSERT(columns > 0);
  gather(kernels().i8, values, static_cast<std::size_t>(columns), scales, vocabulary, columns, ids,
         rows, y);
}

void embed_rows(Stream& stream, const void* table, DType dtype, std::int64_t vocabulary,
                std::int64_t columns, const std::int32_t* ids, std::int64_t rows, float* y) {
  if (!stream.is_cuda()) return embed_rows(table, dtype, vocabulary, columns, ids, rows, y);
  AQUATINT_ASSERT(is_float(dtype));
  const auto type = dtype == DType::kF32   ? EmbeddingTable::kF32
                    : dtype == DType::kF16 ? EmbeddingTable::kF16
                                           : EmbeddingTable::kBF16;
  run_cuda(stream, {type, table, nullptr, ids, y, rows, columns});
}

void embed_rows_int8(Stream& stream, const std::int8_t* values, const float* scales,
                     std::int64_t vocabulary, std::int64_t columns, const std::int32_t* ids,
                     std::int64_t rows, float* y) {
  if (!stream.is_cuda()) {
    return embed_rows_int8(values, scales, vocabulary, columns, ids, rows, y);
  }
  run_cuda(stream, {EmbeddingTable::kInt8, values, scales, ids, y, rows, columns});
}

namespace detail {

std::vector<EmbeddingVariant> embedding_variants() {
  std::vector<EmbeddingVariant> variants{{Isa::kReference, &kEmbeddingReference}};
#if defined(__x86_64__)
  if (detected_isa() >= Isa::kAvx2) variants.push_back({Isa::kAvx2, &kEmbeddingAvx2});
#endif
  return variants;
}

}  // namespace detail
}  // namespace aquatint::kernels
