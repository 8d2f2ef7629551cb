#include "layers/block.h"

#include "kernels/embedding/embedding.h"
#include "kernels/rms_norm/rms_norm.h"

namespace aquatint {
void PreNormBlock::forward(ForwardContext& context, std::span<const Segment> segments,
                           std::int64_t rows, float* hidden) const {
  const std::int64_t columns = mixer_norm_.weight.dim(0);
  {
    const Workspace::Scope scope(context.workspace);
    LinearInput x = LinearInput::normalized(context, hidden, mixer_norm_, rows, columns);
    mixer_->forward(context, x, segments, hidden);
  }
  if (mlp_) {
    const Workspace::Scope scope(context.workspace);
    LinearInput x = LinearInput::normalized(context, hidden, mlp_norm_, rows, columns);
    mlp_->forward(context, x, hidden);
  }
  context.tap(module_, ".output", hidden, rows, columns);
}

std::size_t PreNormBlock::nbytes() const {
  return mixer_->nbytes() + (mlp_ ? mlp_->nbytes() : 0) + mixer_norm_.weight.nbytes() +
         (mlp_ ? mlp_norm_.weight.nbytes() : 0);
}

TokenEmbedding::TokenEmbedding(std::variant<Tensor, QuantizedMatrix> table, Stream& stream)
    : table_(std::move(table)) {
  if (auto* dense = std::get_if<Tensor>(&table_)) {
    *dense = dense->on(stream);
    return;
  }
  auto& matrix = std::get<QuantizedMatrix>(table_);
  matrix.values = matrix.values.on(stream);
  matrix.scales = matrix.scales.on(stream);
}

void TokenEmbedding::forward(ForwardContext& context, const std::int32_t* ids, std::int64_t rows,
                             float* hidden) const {
  if (const auto* dense = std::get_if<Tensor>(&table_)) {
    kernels::embed_rows(context.stream(), dense->bytes(), dense->dtype(), dense->dim(0),
                        dense->dim(1), ids, rows, hidden);
    return;
  }
  const auto& matrix = std::get<QuantizedMatrix>(table_);
  kernels::embed_rows_int8(context.stream(), matrix.values.data<std::int8_t>(),
                           matrix.scales.data<float>(), matrix.rows(), matrix.columns(), ids, rows,
                           hidden);
}

std::size_t TokenEmbedding::nbytes() const {
  if (const auto* dense = std::get_if<Tensor>(&table_)) return dense->nbytes();
  const auto& matrix = std::get<QuantizedMatrix>(table_);
  return matrix.values.nbytes() + matrix.scales.nbytes();
}

void NormedHead::normalize(ForwardContext& context, const float* hidden, std::int64_t rows,
                           float* normed) const {
  kernels::rms_norm(context.stream(), hidden, norm_.weight.data<float>(), rows, head_.columns(),
                    norm_.eps, normed);
}

void NormedHead::logits(ForwardContext& context, const float* normed, std::int64_t rows,
                        float* logits) const {
  const Workspace::Scope scope(context.workspace);
  LinearInput x = LinearInput::values(context, normed, rows, head_.columns());
  head_.forward(context, x, logits);
}

}  // namespace aquatint
