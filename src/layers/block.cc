#include "layers/block.h"

#include "base/threads.h"
#include "kernels/embedding/embedding.h"
#include "kernels/rms_norm/rms_norm.h"

namespace aquatint {
namespace {

// hidden += delta.
void add_rows(float* hidden, const float* delta, std::int64_t n) {
  constexpr std::int64_t kGrain = 1 << 14;
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) hidden[i] += delta[i];
  });
}

}  // namespace

void PreNormBlock::forward(ForwardContext& context, std::span<const Segment> segments,
                           std::int64_t rows, float* hidden) const {
  const Workspace::Scope scope(context.workspace);
  const std::int64_t columns = mixer_norm_.weight.dim(0);
  float* delta = context.workspace.take<float>(rows * columns);
  {
    const Workspace::Scope mixer_scope(context.workspace);
    LinearInput x = LinearInput::normalized(context, hidden, mixer_norm_, rows, columns);
    mixer_->forward(context, x, segments, delta);
  }
  add_rows(hidden, delta, rows * columns);
  if (mlp_) {
    LinearInput x = LinearInput::normalized(context, hidden, mlp_norm_, rows, columns);
    mlp_->forward(context, x, delta);
    add_rows(hidden, delta, rows * columns);
  }
  context.tap(module_, ".output", hidden, rows, columns);
}

std::size_t PreNormBlock::nbytes() const {
  return mixer_->nbytes() + (mlp_ ? mlp_->nbytes() : 0) + mixer_norm_.weight.nbytes() +
         (mlp_ ? mlp_norm_.weight.nbytes() : 0);
}

void TokenEmbedding::forward(const std::int32_t* ids, const std::int32_t*, std::int64_t rows,
                             float* hidden) const {
  if (const auto* dense = std::get_if<Tensor>(&table_)) {
    kernels::embed_rows(dense->bytes(), dense->dtype(), dense->dim(0), dense->dim(1), ids, rows,
                        hidden);
    return;
  }
  const auto& matrix = std::get<QuantizedMatrix>(table_);
  kernels::embed_rows_int8(matrix.values.data<std::int8_t>(), matrix.scales.data<float>(),
                           matrix.rows(), matrix.columns(), ids, rows, hidden);
}

std::size_t TokenEmbedding::nbytes() const {
  if (const auto* dense = std::get_if<Tensor>(&table_)) return dense->nbytes();
  const auto& matrix = std::get<QuantizedMatrix>(table_);
  return matrix.values.nbytes() + matrix.scales.nbytes();
}

void NormedHead::normalize(const float* hidden, std::int64_t rows, float* normed) const {
  kernels::rms_norm(hidden, norm_.weight.data<float>(), rows, head_.columns(), norm_.eps, normed);
}

void NormedHead::logits(ForwardContext& context, const float* normed, std::int64_t rows,
                        float* logits) const {
  const Workspace::Scope scope(context.workspace);
  LinearInput x = LinearInput::values(context, normed, rows, head_.columns());
  head_.forward(context, x, logits);
}

}  // namespace aquatint
