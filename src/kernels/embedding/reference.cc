#include "base/dtype.h"
#include "kernels/embedding/embedding_internal.h"

namespace aquatint::kernels::detail {
namespace {

template <DType dtype>
void convert(const void* row, float, std::int64_t n, float* y) noexcept {
  convert_to_f32(dtype, row, static_cast<std::size_t>(n), y);
}

void dequantize(const void* row, float scale, std::int64_t n, float* y) noexcept {
  const auto* values = static_cast<const std::int8_t*>(row);
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(values[i]) * scale;
}

}  // namespace

const EmbeddingKernels kEmbeddingReference{convert<DType::kF32>, convert<DType::kF16>,
                                           convert<DType::kBF16>, dequantize};

}  // namespace aquatint::kernels::detail
