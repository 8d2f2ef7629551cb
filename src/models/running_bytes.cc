#include "models/running_bytes.h"

#include "packing/packed_weights.h"

namespace aquatint {
namespace {

constexpr std::int64_t kFloatBytes = 4;
constexpr std::int64_t kHalfBytes = 2;

// As pack_weights() lays them out.
std::int64_t packed_bytes(const WeightScheme& scheme, std::int64_t rows, std::int64_t columns) {
  const std::int64_t lanes =
      (rows + PackedWeights::kPanel - 1) / PackedWeights::kPanel * PackedWeights::kPanel;
  const std::int64_t bits = scheme.bits <= 4 ? 4 : 8, groups = scheme.groups(columns);
  const std::int64_t padded = groups > 1 ? groups * scheme.group_size : (columns + 7) / 8 * 8;
  return lanes * padded * bits / 8 + lanes * groups * (kFloatBytes + (scheme.symmetric ? 0 : 1));
}

std::int64_t tensor_bytes(const WeightSource& source, const TensorSpec& spec,
                          kernels::DenseType compute) {
  const bool tied = spec.role == Role::kHead && source.head_is_tied();
  const auto scheme = tied ? std::nullopt : source.scheme(spec);
  if (is_linear(spec.role)) {
    if (scheme) return packed_bytes(scheme->weights, spec.shape[0], spec.shape[1]);
    return spec.shape.numel() * (compute == kernels::DenseType::kBF16 ? kHalfBytes : kFloatBytes);
  }
  if (spec.role != Role::kEmbedding) return spec.shape.numel() * kFloatBytes;
  if (scheme) return spec.shape.numel() + spec.shape[0] * kFloatBytes;
  return source.read_bytes(spec);
}

}  // namespace

kernels::DenseType compute_type(const WeightSource& source, const LoadOptions& options) {
  if (options.compute) return *options.compute;
  return source.is_quantized() ? kernels::DenseType::kBF16 : kernels::DenseType::kF32;
}

std::int64_t running_weight_bytes(const Architecture& architecture, const WeightSource& source,
                                  const LoadOptions& options) {
  const kernels::DenseType compute = compute_type(source, options);
  std::int64_t total = 0;
  for (const TensorSpec& spec : architecture.tensors())
    total += tensor_bytes(source, spec, compute);
  return total;
}

std::int64_t running_weight_bytes(const Checkpoint& checkpoint, const LoadOptions& options) {
  return running_weight_bytes(checkpoint.architecture(), checkpoint, options);
}

}  // namespace aquatint
