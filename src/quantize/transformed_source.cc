#include "quantize/transformed_source.h"

#include "base/threads.h"

namespace aquatint {
namespace {

Tensor scaled(const Tensor& tensor, const TensorFactors& factors) {
  Tensor result = tensor.to_f32();
  const std::int64_t rows = result.dim(0), columns = result.numel() / rows;
  AQUATINT_ASSERT(factors.rows.empty() || std::ssize(factors.rows) == rows);
  AQUATINT_ASSERT(factors.columns.empty() || std::ssize(factors.columns) == columns);
  float* values = result.mutable_data<float>();
  parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* row = values + r * columns;
      const float of_row = factors.rows.empty() ? 1.0f : factors.rows[static_cast<std::size_t>(r)];
      for (std::int64_t c = 0; c < columns; ++c) row[c] *= of_row;
      if (factors.columns.empty()) continue;
      for (std::int64_t c = 0; c < columns; ++c) {
        row[c] *= factors.columns[static_cast<std::size_t>(c)];
      }
    }
  });
  return result;
}

}  // namespace

const TensorFactors* TransformedSource::factors(const std::string& name) const {
  const auto found = factors_.find(name);
  return found == factors_.end() ? nullptr : &found->second;
}

Tensor TransformedSource::tensor(const std::string& name) const {
  const TensorFactors* changed = factors(name);
  return changed == nullptr ? inner().tensor(name) : scaled(inner().tensor(name), *changed);
}

LinearWeights TransformedSource::linear(const std::string& module) const {
  LinearWeights result = inner().linear(module);
  if (const TensorFactors* weight = factors(module + ".weight")) {
    result.weight = scaled(std::get<Tensor>(result.weight), *weight);
  }
  if (const TensorFactors* bias = factors(module + ".bias")) {
    result.bias = scaled(result.bias, *bias);
  }
  return result;
}

std::int64_t TransformedSource::read_bytes(const TensorSpec& spec) const {
  if (factors(spec.name) == nullptr) return inner().read_bytes(spec);
  return spec.shape.numel() * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace aquatint
