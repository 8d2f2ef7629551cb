#include "layers/linear.h"

#include "base/error.h"
#include "base/threads.h"

namespace aquatint {

Linear::Linear(const LinearWeights& weights, const LoadOptions& options)
    : module_(weights.module), activations_(weights.activations) {
  if (weights.bias.defined()) bias_ = weights.bias.to_f32();
  if (const auto* dense = std::get_if<Tensor>(&weights.weight)) {
    outputs_ = dense->dim(0);
    columns_ = dense->dim(1);
    dense_ = kernels::DenseWeights::pack(*dense, options.compute);
    return;
  }
  const auto& matrix = std::get<QuantizedMatrix>(weights.weight);
  outputs_ = matrix.rows();
  columns_ = matrix.columns();
  if (options.execution == Execution::kSimulated) {
    simulated_ = true;
    dense_ = kernels::DenseWeights::pack(dequantize(matrix), kernels::DenseType::kF32);
  } else {
    packed_ = pack_weights(matrix);
  }
}

std::size_t Linear::nbytes() const {
  return (dense_ ? dense_->nbytes() : 0) + (packed_ ? packed_->nbytes() : 0) +
         (bias_.defined() ? bias_.nbytes() : 0);
}

void Linear::forward(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy) const {
  AQUATINT_ASSERT(x.columns() == columns_);
  const std::int64_t rows = x.rows();
  if (context.taps != nullptr) context.tap(module_, ".input", x.f32(), rows, columns_);
  const float* bias = bias_.defined() ? bias_.data<float>() : nullptr;
  if (simulated_) {
    forward_simulated(context, x, y, ldy);
  } else if (packed_ && activations_ == ActivationScheme::kInt8Dynamic) {
    const auto rows_int8 = x.int8(packed_->group_size, packed_->groups, module_);
    kernels::quant_matmul_a8(rows_int8, rows, *packed_, bias, y, ldy);
  } else if (packed_) {
    const auto rows_bf16 = x.bf16(packed_->group_size, packed_->groups, module_);
    kernels::quant_matmul_a16(rows_bf16, rows, *packed_, bias, y, ldy);
  } else if (dense_->type() == kernels::DenseType::kBF16) {
    kernels::matmul_bf16(x.bf16(columns_, 1, module_).values, rows, *dense_, bias, y, ldy);
  } else {
    kernels::matmul_f32(x.f32(), rows, *dense_, bias, y, ldy);
  }
  if (context.taps != nullptr && ldy == outputs_) {
    context.tap(module_, ".output", y, rows, outputs_);
  }
}

// The activations are put on the grid the integer kernels use (int8 per token, or bfloat16), then
// multiplied in float32 by the dequantized weights.
void Linear::forward_simulated(ForwardContext& context, LinearInput& x, float* y,
                               std::int64_t ldy) const {
  const std::int64_t rows = x.rows(), columns = columns_;
  const float* bias = bias_.defined() ? bias_.data<float>() : nullptr;
  // Forms cached in x outlive this call, so they are made before the scope opens.
  if (activations_ == ActivationScheme::kInt8Dynamic) {
    const auto q = x.int8(columns, 1, module_);
    const Workspace::Scope scope(context.workspace);
    float* grid = context.workspace.take<float>(rows * columns);
    parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin * columns; i < end * columns; ++i) {
        grid[i] = static_cast<float>(q.values[i]) * q.scales[i / columns];
      }
    });
    kernels::matmul_f32(grid, rows, *dense_, bias, y, ldy);
  } else {
    const auto q = x.bf16(columns, 1, module_);
    const Workspace::Scope scope(context.workspace);
    float* grid = context.workspace.take<float>(rows * columns);
    parallel_for(rows * columns, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) grid[i] = bf16_to_f32(q.values[i]);
    });
    kernels::matmul_f32(grid, rows, *dense_, bias, y, ldy);
  }
}

}  // namespace aquatint
