// The activations that feed one or more Linear layers, in whichever form each of them wants:
// float32, int8 rows or bfloat16 rows. Forms are made on first use and shared, so q, k, v and the
// gate quantize their common input once. The source may be a normalization or a gated product not
// yet computed; when every consumer wants int8 these are fused with the quantization and no float
// copy is written.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/quant_matmul/quant_matmul.h"
#include "layers/context.h"

namespace aquatint {

struct RmsNorm {
  Tensor weight;  // float32 [columns]; undefined: all ones
  float eps = 1e-6f;
};

class LinearInput {
 public:
  // Values that exist already: [rows, columns], row-major. They must outlive this object.
  static LinearInput values(ForwardContext& context, const float* x, std::int64_t rows,
                            std::int64_t columns);
  // RMSNorm of x, computed on demand.
  static LinearInput normalized(ForwardContext& context, const float* x, const RmsNorm& norm,
                                std::int64_t rows, std::int64_t columns);
  // activation(gate) * up, computed on demand.
  static LinearInput gated(ForwardContext& context, kernels::Activation activation,
                           const float* gate, const float* up, std::int64_t rows,
                           std::int64_t columns);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

  const float* f32();
  // Rows quantized per token, with sums per group. `consumer` names the layer in the error
  // (kNumeric) raised when a value is NaN or infinite.
  kernels::Int8Rows int8(std::int64_t group_size, std::int64_t groups, const std::string& consumer);
  // Rows in bfloat16 in the order the quantized products read, with sums per group.
  kernels::Bf16Rows bf16(std::int64_t group_size, std::int64_t groups, const std::string& consumer);
  // Rows in bfloat16 as they are: [rows, columns].
  const std::uint16_t* plain_bf16(const std::string& consumer);

 private:
  enum class Source { kValues, kNorm, kGated };
  struct Int8Form {
    std::int64_t group_size, groups;
    kernels::Int8Rows rows;
  };
  struct Bf16Form {
    std::int64_t group_size, groups;
    kernels::Bf16Rows rows;
  };
  LinearInput(ForwardContext& context, Source source, std::int64_t rows, std::int64_t columns)
      : context_(&context), source_(source), rows_(rows), columns_(columns) {}
  bool make_int8(std::int64_t group_size, std::int64_t groups, std::int8_t* values, float* scales,
                 std::int32_t* sums, int tag);

  ForwardContext* context_;
  Source source_;
  std::int64_t rows_, columns_;
  const float* f32_ = nullptr;
  const std::uint16_t* plain_bf16_ = nullptr;
  const float* x_ = nullptr;  // input of the normalization, or the gate
  const float* up_ = nullptr;
  const RmsNorm* norm_ = nullptr;
  kernels::Activation activation_ = kernels::Activation::kIdentity;
  std::vector<Int8Form> int8_;
  std::vector<Bf16Form> bf16_;
};

}  // namespace aquatint
