// The activations that feed one or more Linear layers, in whichever form each of them wants:
// float32, int8 rows or bfloat16 rows. Forms are made on first use and shared, so q, k, v and the
// gate quantize their common input once. The source may be a normalization or a gated product not
// yet computed; when no consumer wants float32 these are fused with the quantization (and on GPUs
// with the rounding to bfloat16) and no float copy is written.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/product_view.h"
#include "kernels/quant_matmul/quant_matmul.h"
#include "kernels/row_sink.h"
#include "kernels/row_source.h"
#include "layers/context.h"

namespace aquatint {

struct RmsNorm {
  Tensor weight;  // float32 [columns]; undefined: all ones
  float eps = 1e-6f;
};

// On the CPU only.
struct LayerNorm {
  Tensor weight, bias;  // float32 [columns]
  float eps = 1e-5f;
};

using Norm = std::variant<RmsNorm, LayerNorm>;
// Columns of the values that it normalizes, and memory of its weights.
std::int64_t norm_columns(const Norm& norm);
std::size_t norm_bytes(const Norm& norm);

class LinearInput {
 public:
  // Values that exist already: [rows, columns], row-major. They must outlive this object.
  static LinearInput values(ForwardContext& context, const float* x, std::int64_t rows,
                            std::int64_t columns);
  // A norm of x, computed on demand.
  static LinearInput normalized(ForwardContext& context, const float* x, const RmsNorm& norm,
                                std::int64_t rows, std::int64_t columns);
  static LinearInput normalized(ForwardContext& context, const float* x, const LayerNorm& norm,
                                std::int64_t rows, std::int64_t columns);
  static LinearInput normalized(ForwardContext& context, const float* x, const Norm& norm,
                                std::int64_t rows, std::int64_t columns);
  // activation(gate) * up of two products in the forms they left, computed on demand.
  static LinearInput gated(ForwardContext& context, kernels::Activation activation,
                           const kernels::ProductView& gate, const kernels::ProductView& up,
                           std::int64_t rows, std::int64_t columns);
  // activation(x) of a product, computed on demand, on the CPU only.
  static LinearInput activated(ForwardContext& context, kernels::Activation activation,
                               const kernels::ProductView& x, std::int64_t rows,
                               std::int64_t columns);
  // RMSNorm of each head of o [rows, heads * dv], then times silu(gate) if there is one, computed
  // on demand.
  static LinearInput gated_norm(ForwardContext& context, const float* o,
                                const std::optional<kernels::ProductView>& gate,
                                const RmsNorm& norm, std::int64_t rows, std::int64_t heads,
                                std::int64_t dv);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

  // Says before the first use that int8 and plain bfloat16 will both be wanted, which some sources
  // make in one pass.
  void expect_int8_and_bf16() { with_bf16_ = true; }

  // The source as products with few rows take it that make the rows themselves, each again; none
  // where they cannot.
  std::optional<kernels::RowSource> row_source() const;

  const float* f32();
  // Rows quantized per token, with sums per group. `consumer` names the layer in the error
  // (kNumeric) raised when a value is NaN or infinite.
  kernels::Int8Rows int8(std::int64_t group_size, std::int64_t groups, const std::string& consumer);
  // The same on a given grid, on the CPU only. scales are all that of the grid.
  kernels::Int8Rows int8_static(const StaticScale& grid, std::int64_t group_size,
                                std::int64_t groups, const std::string& consumer);
  // Rows in bfloat16 in the order the quantized products read, with sums per group.
  kernels::Bf16Rows bf16(std::int64_t group_size, std::int64_t groups, const std::string& consumer);
  // Rows in bfloat16 as they are: [rows, columns].
  const std::uint16_t* plain_bf16(const std::string& consumer);

 private:
  enum class Source { kValues, kNorm, kLayerNorm, kGated, kGatedNorm };
  struct Int8Form {
    std::int64_t group_size, groups;
    std::optional<StaticScale> grid;  // none: a scale per row
    kernels::Int8Rows rows;
  };
  struct Bf16Form {
    std::int64_t group_size, groups;
    kernels::Bf16Rows rows;
  };
  LinearInput(ForwardContext& context, Source source, std::int64_t rows, std::int64_t columns)
      : context_(&context), source_(source), rows_(rows), columns_(columns) {}
  bool fuses(bool int8) const;
  bool make(const kernels::RowSink& sink, int tag);

  ForwardContext* context_;
  Source source_;
  std::int64_t rows_, columns_;
  const float* f32_ = nullptr;
  const std::uint16_t* plain_bf16_ = nullptr;
  const float* x_ = nullptr;  // input of a normalization
  const RmsNorm* norm_ = nullptr;
  const LayerNorm* layer_norm_ = nullptr;
  std::int64_t heads_ = 1;
  std::optional<kernels::ProductView> gate_, up_;
  bool with_bf16_ = false;  // int8 is to be made together with plain bfloat16
  kernels::Activation activation_ = kernels::Activation::kIdentity;
  std::vector<Int8Form> int8_;
  std::vector<Bf16Form> bf16_;
};

}  // namespace aquatint
