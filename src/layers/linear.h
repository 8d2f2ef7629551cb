// The one type through which every matrix product of a model goes: y = x · Wᵀ + b. Its weights are
// dense (float32 or bfloat16) or quantized; quantized weights run either through the integer
// kernels on packed data or simulated, in float arithmetic on exactly the same grid.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "kernels/attention/kv_type.h"
#include "kernels/matmul/matmul.h"
#include "layers/linear_input.h"
#include "packing/gpu_weights.h"
#include "packing/packed_weights.h"
#include "packing/quantized_matrix.h"

namespace aquatint {

enum class Execution { kInteger, kSimulated };

// How weights are held and multiplied.
struct LoadOptions {
  // Of weights that are not quantized. Unset: float32 in a model without quantized weights;
  // bfloat16 beside quantized ones, where it costs no more error than they do and half the memory.
  std::optional<kernels::DenseType> compute;
  Execution execution = Execution::kInteger;  // of weights that are quantized
  Device device{};                            // that holds and multiplies them
  // Of the keys and values that models with attention remember. On a GPU: float32.
  kernels::KvType kv_cache = kernels::KvType::kF32;

  Stream& stream() const { return Stream::of(device); }
};

// A projection as a checkpoint (or a rounding) provides it.
struct LinearWeights {
  std::string module;                                       // "model.layers.0.attn.q_proj"
  std::variant<Tensor, QuantizedMatrix> weight;             // [outputs, columns]
  Tensor bias;                                              // [outputs], or undefined
  ActivationScheme activations = ActivationScheme::kFloat;  // for a QuantizedMatrix
  StaticScale input = {};                                   // of static activations
};

class Linear {
 public:
  Linear() = default;
  Linear(const LinearWeights& weights, const LoadOptions& options);

  // y: [rows, ldy] with the outputs in the first outputs() columns of each row.
  void forward(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy) const;
  void forward(ForwardContext& context, LinearInput& x, float* y) const {
    forward(context, x, y, outputs_);
  }
  // The product in the form that is cheapest to make, for a reader that takes any: in memory of the
  // workspace. The reader must come before x ends.
  kernels::ProductView forward_view(ForwardContext& context, LinearInput& x) const;
  // Products of one input, one view each, in one launch where the device can: into y, or where it
  // is null as by forward_view, or with `values` in whichever of float32 and bfloat16 is cheaper.
  struct Wanted {
    const Linear* linear;
    float* y;
    bool values = false;
  };
  static std::vector<kernels::ProductView> forward_shared(ForwardContext& context, LinearInput& x,
                                                          std::span<const Wanted> wanted);
  static std::vector<kernels::ProductView> forward_shared(ForwardContext& context, LinearInput& x,
                                                          std::initializer_list<Wanted> wanted) {
    return forward_shared(context, x, std::span(wanted.begin(), wanted.size()));
  }
  // Adds the product to y [rows, outputs]: the residual connection. Forms of x that y is an input
  // of (a normalization of it) are made before y changes.
  void forward_add(ForwardContext& context, LinearInput& x, float* y) const;

  // The form of the input this takes on a GPU: int8, bfloat16, or else float32.
  bool wants_int8() const { return gpu_ && activations_ == ActivationScheme::kInt8Dynamic; }
  bool wants_bf16() const {
    return gpu_ ? !wants_int8() : dense_ && dense_->type() == kernels::DenseType::kBF16;
  }

  // Weights that are dense bfloat16 in a GPU's memory, [outputs, columns]; else null.
  const std::uint16_t* gpu_bf16() const;
  // [outputs] or null.
  const float* bias() const { return bias_.defined() ? bias_.data<float>() : nullptr; }

  ActivationScheme activations() const { return activations_; }
  std::int64_t outputs() const { return outputs_; }
  std::int64_t columns() const { return columns_; }
  const std::string& module() const { return module_; }
  // Memory the weights take as they are executed.
  std::size_t nbytes() const;

 private:
  void multiply(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy,
                bool accumulate) const;
  kernels::Int8Rows int8_rows(LinearInput& x, std::int64_t group_size, std::int64_t groups) const;
  void forward_simulated(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy) const;
  bool multiplies_itself(const ForwardContext& context, std::int64_t rows) const;
  bool can_share_launch(const Linear& other) const;
  // A product of few rows, of this Linear's form.
  struct Few {
    const Linear* linear;
    float* y;
    std::int64_t ldy;
    bool accumulate = false;
  };
  kernels::GpuDenseProduct dense_product(const Few& few) const;
  bool can_carry(const ForwardContext& context, const LinearInput& x, const Linear& rider) const;
  void multiply_few(ForwardContext& context, LinearInput& x, std::span<const Few> products,
                    const Few* rider) const;
  bool has_one_int8_scale() const;
  bool uses_tiles(const ForwardContext& context, std::int64_t rows) const;
  static std::vector<kernels::ProductView> forward_tiles(ForwardContext& context, LinearInput& x,
                                                         std::span<const Wanted> wanted);
  kernels::ProductView values_view(ForwardContext& context, LinearInput& x) const;
  std::int32_t* library_int8_sums(ForwardContext& context, const kernels::Int8Rows& x8,
                                  std::int64_t rows) const;
  kernels::GpuOperands<std::uint16_t> expanded_operands(ForwardContext& context,
                                                        const std::uint16_t* x16,
                                                        std::int64_t rows) const;
  bool can_accumulate(const ForwardContext& context, std::int64_t rows) const;
  void multiply_gpu_a8(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy,
                       bool accumulate) const;
  void multiply_gpu_a16(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy,
                        bool accumulate) const;

  std::string module_;
  std::int64_t outputs_ = 0, columns_ = 0;
  // Exactly one of these holds the weights; dense_ also serves simulated execution.
  std::optional<kernels::DenseWeights> dense_;
  std::optional<PackedWeights> packed_;
  std::optional<GpuWeights> gpu_;
  bool simulated_ = false;
  ActivationScheme activations_ = ActivationScheme::kFloat;
  StaticScale input_;  // of static activations
  Tensor bias_;        // float32, where the weights are; or undefined
};

}  // namespace aquatint
