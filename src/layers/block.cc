#include "layers/block.h"

#include "kernels/embedding/embedding.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/residual_add/residual_add.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/scaled_add/scaled_add.h"

namespace aquatint {
namespace {

// Lets `part` add to hidden values, or to zeros that are scaled before they are added.
template <typename Part>
void add_scaled(ForwardContext& context, float scale, std::int64_t n, float* hidden,
                const Part& part) {
  if (scale == 1.0f) return part(hidden);
  float* sum = context.workspace.take<float>(n);
  context.stream().zero(sum, static_cast<std::size_t>(n) * sizeof(float));
  part(sum);
  kernels::scaled_add(context.stream(), hidden, sum, scale, n);
}

// How many rows there are. Ascending, so that no row is written before it is read.
std::int64_t move_to_front(ForwardContext& context, std::span<const std::int64_t> kept,
                           std::int64_t columns, float* hidden) {
  std::int64_t n = 0;
  for (const std::int64_t row : kept) {
    if (row != n) {
      context.stream().copy(hidden + n * columns, hidden + row * columns,
                            static_cast<std::size_t>(columns) * sizeof(float));
    }
    ++n;
  }
  return n;
}

}  // namespace

void PreNormBlock::forward(ForwardContext& context, std::span<const Segment> segments,
                           std::int64_t rows, float* hidden,
                           std::optional<std::span<const std::int64_t>> kept) const {
  const std::int64_t columns = norm_columns(mixer_norm_);
  {
    const Workspace::Scope scope(context.workspace);
    LinearInput x = LinearInput::normalized(context, hidden, mixer_norm_, rows, columns);
    add_scaled(context, residual_scale_, rows * columns, hidden,
               [&](float* y) { mixer_->forward(context, x, segments, y); });
  }
  if (kept) rows = move_to_front(context, *kept, columns, hidden);
  if (mlp_ && rows > 0) {
    const Workspace::Scope scope(context.workspace);
    LinearInput x = LinearInput::normalized(context, hidden, mlp_norm_, rows, columns);
    add_scaled(context, residual_scale_, rows * columns, hidden, [&](float* y) {
      std::visit([&](const auto& mlp) { mlp.forward(context, x, y); }, *mlp_);
    });
  }
  context.tap(module_, ".output", hidden, rows, columns);
}

std::size_t PreNormBlock::nbytes() const {
  const std::size_t mixing = mixer_->nbytes() + norm_bytes(mixer_norm_);
  if (!mlp_) return mixing;
  return mixing + norm_bytes(mlp_norm_) +
         std::visit([](const auto& mlp) { return mlp.nbytes(); }, *mlp_);
}

TokenEmbedding::TokenEmbedding(std::variant<Tensor, QuantizedMatrix> table, Stream& stream,
                               float scale)
    : table_(std::move(table)), scale_(scale) {
  if (auto* dense = std::get_if<Tensor>(&table_)) {
    *dense = dense->on(stream);
    return;
  }
  auto& matrix = std::get<QuantizedMatrix>(table_);
  matrix.values = matrix.values.on(stream);
  matrix.scales = matrix.scales.on(stream);
}

void TokenEmbedding::forward(ForwardContext& context, std::span<const Segment>,
                             const std::int32_t* ids, std::int64_t rows, float* hidden) const {
  Stream& stream = context.stream();
  std::int64_t columns = 0;
  if (const auto* dense = std::get_if<Tensor>(&table_)) {
    columns = dense->dim(1);
    kernels::embed_rows(stream, dense->bytes(), dense->dtype(), dense->dim(0), columns, ids, rows,
                        hidden);
  } else {
    const auto& matrix = std::get<QuantizedMatrix>(table_);
    columns = matrix.columns();
    kernels::embed_rows_int8(stream, matrix.values.data<std::int8_t>(), matrix.scales.data<float>(),
                             matrix.rows(), columns, ids, rows, hidden);
  }
  if (scale_ != 1.0f) kernels::scale(stream, hidden, scale_, rows * columns);
}

std::size_t TokenEmbedding::nbytes() const {
  if (const auto* dense = std::get_if<Tensor>(&table_)) return dense->nbytes();
  const auto& matrix = std::get<QuantizedMatrix>(table_);
  return matrix.values.nbytes() + matrix.scales.nbytes();
}

void PositionedEmbedding::forward(ForwardContext& context, std::span<const Segment> segments,
                                  const std::int32_t* ids, std::int64_t rows, float* hidden) const {
  tokens_.forward(context, segments, ids, rows, hidden);
  const Workspace::Scope scope(context.workspace);
  const std::int64_t columns = positions_.dim(1);
  auto* positions = context.workspace.take<std::int32_t>(rows);
  auto* added = context.workspace.take<float>(rows * columns);
  row_positions(segments, positions);
  kernels::embed_rows(positions_.bytes(), positions_.dtype(), positions_.dim(0), columns, positions,
                      rows, added);
  kernels::residual_add(context.stream(), hidden, added, rows * columns);
}

void NormedHead::normalize(ForwardContext& context, const float* hidden, std::int64_t rows,
                           float* normed) const {
  Stream& stream = context.stream();
  const std::int64_t columns = head_.columns();
  if (const auto* rms = std::get_if<RmsNorm>(&norm_)) {
    kernels::rms_norm(stream, hidden, rms->weight.data<float>(), rows, columns, rms->eps, normed);
    return;
  }
  const auto& norm = std::get<LayerNorm>(norm_);
  kernels::RowSink sink;
  sink.f32 = normed;
  kernels::layer_norm(stream, hidden, norm.weight.data<float>(), norm.bias.data<float>(), rows,
                      columns, norm.eps, sink);
}

void NormedHead::logits(ForwardContext& context, const float* normed, std::int64_t rows,
                        float* logits) const {
  const Workspace::Scope scope(context.workspace);
  const std::int64_t columns = head_.columns();
  if (scale_ != 1.0f) {
    auto* scaled = context.workspace.take<float>(rows * columns);
    context.stream().copy(scaled, normed, static_cast<std::size_t>(rows * columns) * sizeof(float));
    kernels::scale(context.stream(), scaled, scale_, rows * columns);
    normed = scaled;
  }
  LinearInput x = LinearInput::values(context, normed, rows, columns);
  head_.forward(context, x, logits);
}

}  // namespace aquatint
