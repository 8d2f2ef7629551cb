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
    dense_ =
        kernels::DenseWeights::pack(*dense, options.compute.value_or(kernels::DenseType::kF32));
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
    kernels::matmul_bf16(x.plain_bf16(module_), rows, *dense_, bias, y, ldy);
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
  const std::int64_t padded = (columns + 7) / 8 * 8;
  // Forms cached in x outlive this call, so they are made before the scope opens.
  const bool int8 = activations_ == ActivationScheme::kInt8Dynamic;
  const kernels::Int8Rows q = int8 ? x.int8(padded, 1, module_) : kernels::Int8Rows{};
  const std::uint16_t* rounded = int8 ? nullptr : x.plain_bf16(module_);
  const Workspace::Scope scope(context.workspace);
  float* grid = context.workspace.take<float>(rows * columns);
  parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t m = begin; m < end; ++m) {
      for (std::int64_t k = 0; k < columns; ++k) {
        grid[m * columns + k] = int8 ? static_cast<float>(q.values[m * padded + k]) * q.scales[m]
                                     : bf16_to_f32(rounded[m * columns + k]);
      }
    }
  });
  kernels::matmul_f32(grid, rows, *dense_, bias_.defined() ? bias_.data<float>() : nullptr, y, ldy);
}

}  // namespace aquatint
