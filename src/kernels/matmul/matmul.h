// Dense products of activations with weights that were reordered once into the layout of the
// library that multiplies them (oneDNN; nothing outside this folder knows that). One layout serves
// every number of rows: at one row the product runs at the speed of memory, at hundreds at the
// speed of the multiply units, so weights are in memory once. Handles are cheap to copy and safe to
// use from several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "device/stream.h"
#include "tensor/tensor.h"

namespace aquatint::kernels {

namespace detail {
class PackedMatrix;
}

enum class DenseType { kF32, kBF16 };

// Float weights W [outputs, columns], float32 or bfloat16.
class DenseWeights {
 public:
  DenseWeights() = default;
  // Reorders float32, float16 or bfloat16 weights [N, K], which may be an unaligned mapped tensor,
  // after rounding them to `type`. Works through the matrix in slices, so little more than the
  // packed bytes is ever resident. Error kInvalidArgument unless `weight` is a non-empty float
  // matrix.
  static DenseWeights pack(const Tensor& weight, DenseType type);
  // The same for products on the stream's device; a GPU takes the rows as they are.
  static DenseWeights pack(Stream& stream, const Tensor& weight, DenseType type);

  bool defined() const { return packed_ != nullptr || plain_.defined(); }
  std::int64_t outputs() const { return outputs_; }
  std::int64_t columns() const { return columns_; }
  DenseType type() const { return type_; }
  bool on_gpu() const { return plain_.defined(); }
  // The rows as they are in the memory of a GPU; REQUIRES: made for one, of type kBF16.
  const std::uint16_t* gpu_bf16() const { return plain_.data<std::uint16_t>(); }
  // Bytes held, padding included. Processors without bfloat16 products hold bfloat16 weights as
  // float32.
  std::size_t nbytes() const;

 private:
  friend void matmul_f32(const float* x, std::int64_t rows, const DenseWeights& weights,
                         const float* bias, float* y, std::int64_t ldy);
  friend void matmul_f32(Stream& stream, const float* x, std::int64_t rows,
                         const DenseWeights& weights, const float* bias, float* y, std::int64_t ldy,
                         bool accumulate);
  friend void matmul_bf16(Stream& stream, const std::uint16_t* x, std::int64_t rows,
                          const DenseWeights& weights, const float* bias, float* y,
                          std::int64_t ldy, bool accumulate);
  friend void matmul_bf16(const std::uint16_t* x, std::int64_t rows, const DenseWeights& weights,
                          const float* bias, float* y, std::int64_t ldy);
  std::shared_ptr<const detail::PackedMatrix> packed_;
  Tensor plain_;  // row-major in the memory of a GPU, instead of packed_
  std::int64_t outputs_ = 0;
  std::int64_t columns_ = 0;
  DenseType type_ = DenseType::kF32;
};

// y[m * ldy + n] = sum_k x[m * columns + k] W[n, k] (+ bias[n]) for m < rows, in float32; `bias`
// may be null. REQUIRES: weights of type kF32, ldy >= outputs, x and y apart.
void matmul_f32(const float* x, std::int64_t rows, const DenseWeights& weights, const float* bias,
                float* y, std::int64_t ldy);

// The same with bfloat16 x and weights of type kBF16; products are summed in float32.
void matmul_bf16(const std::uint16_t* x, std::int64_t rows, const DenseWeights& weights,
                 const float* bias, float* y, std::int64_t ldy);

// The same on the stream's device, where all pointers and the weights are. A GPU can add to what y
// holds; the CPU's products REQUIRE accumulate = false.
void matmul_f32(Stream& stream, const float* x, std::int64_t rows, const DenseWeights& weights,
                const float* bias, float* y, std::int64_t ldy, bool accumulate = false);
void matmul_bf16(Stream& stream, const std::uint16_t* x, std::int64_t rows,
                 const DenseWeights& weights, const float* bias, float* y, std::int64_t ldy,
                 bool accumulate = false);

// Row-major operands on a GPU whose weights were made there.
template <typename T>
struct GpuOperands {
  const T* x = nullptr;  // [rows, ldx]
  std::int64_t rows = 0, ldx = 0;
  const T* w = nullptr;  // [outputs, ldw]
  std::int64_t outputs = 0, ldw = 0;
  std::int64_t columns = 0;
};
// y [rows, ldy] (+)= x W^T (+ bias). REQUIRES: a GPU.
void matmul_bf16_gpu(Stream& stream, const GpuOperands<std::uint16_t>& operands, const float* bias,
                     float* y, std::int64_t ldy, bool accumulate);
// The same with results rounded to bfloat16, without a bias.
void matmul_bf16_gpu(Stream& stream, const GpuOperands<std::uint16_t>& operands, std::uint16_t* y,
                     std::int64_t ldy);
// y int32 [rows, outputs], exact. False, and nothing done, for sizes that the library does not
// take. REQUIRES: a GPU, columns a multiple of 4.
bool matmul_int8_gpu(Stream& stream, const GpuOperands<std::int8_t>& operands, std::int32_t* y);

// Signed 8-bit weights W [outputs, columns].
class Int8Weights {
 public:
  Int8Weights() = default;
  // Reorders w [n, k], row-major. REQUIRES: n, k > 0.
  static Int8Weights pack(const std::int8_t* w, std::int64_t n, std::int64_t k);

  bool defined() const { return packed_ != nullptr || plain_.defined(); }
  std::int64_t outputs() const { return outputs_; }
  std::int64_t columns() const { return columns_; }
  std::size_t nbytes() const;

 private:
  friend void matmul_u8s8(const std::uint8_t* x, std::int64_t rows, const Int8Weights& weights,
                          std::int32_t* y);
  std::shared_ptr<const detail::PackedMatrix> packed_;
  Tensor plain_;  // row-major, instead of packed_ on processors without 8-bit dot products
  std::int64_t outputs_ = 0;
  std::int64_t columns_ = 0;
};

// y[m, n] = sum_k x[m, k] W[n, k], exact in int32 for columns up to 66,000. y is dense [rows,
// outputs].
void matmul_u8s8(const std::uint8_t* x, std::int64_t rows, const Int8Weights& weights,
                 std::int32_t* y);

}  // namespace aquatint::kernels
