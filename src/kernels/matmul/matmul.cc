#include "kernels/matmul/matmul.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/matmul/cuda_args.h"
#include "kernels/matmul/matmul_internal.h"
#include "kernels/matmul/packed_matrix.h"
#include "kernels/matmul/variants.h"

namespace aquatint::kernels {
namespace {

using detail::PackedMatrix;
using detail::Product;

// Rows per call where operands or results go through a buffer, so that the buffer stays in the
// cache.
constexpr std::int64_t kBufferRows = 128;

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// Rounds rows [begin, end) of `weight` to `type` elements at `out`.
void fill_rows(const Tensor& weight, std::int64_t begin, std::int64_t end, DType type, void* out) {
  const std::int64_t columns = weight.dim(1);
  const std::size_t row_bytes = size(columns) * dtype_size(weight.dtype());
  const std::byte* source = weight.bytes() + size(begin) * row_bytes;
  if (weight.dtype() == type) {
    std::memcpy(out, source, size(end - begin) * row_bytes);
    return;
  }
  const std::size_t out_row = size(columns) * dtype_size(type);
  parallel_for(end - begin, 16, [&](std::int64_t first, std::int64_t last) {
    std::vector<float> row(size(columns));
    for (std::int64_t i = first; i < last; ++i) {
      convert_to_f32(weight.dtype(), source + size(i) * row_bytes, row.size(), row.data());
      convert_from_f32(row.data(), row.size(), type,
                       static_cast<std::byte*>(out) + size(i) * out_row);
    }
  });
}

// The library's fast products write dense rows only; a wider `ldy` goes through a buffer.
template <typename T>
void multiply(const PackedMatrix& packed, const T* x, std::int64_t rows, std::int64_t columns,
              const float* bias, float* y, std::int64_t outputs, std::int64_t ldy) {
  if (rows <= 1 || ldy == outputs) {
    if (rows > 0) packed.multiply(x, rows, bias, y);
    return;
  }
  std::vector<float> buffer(size(std::min(rows, kBufferRows) * outputs));
  for (std::int64_t m = 0; m < rows; m += kBufferRows) {
    const std::int64_t count = std::min(kBufferRows, rows - m);
    packed.multiply(x + m * columns, count, bias, buffer.data());
    for (std::int64_t i = 0; i < count; ++i) {
      std::copy_n(buffer.data() + i * outputs, outputs, y + (m + i) * ldy);
    }
  }
}

void check_matrix(const Tensor& weight) {
  if (weight.shape().rank() != 2 || weight.numel() == 0 || !is_float(weight.dtype())) {
    raise(ErrorKind::kInvalidArgument, "a weight matrix cannot be a {} tensor {}",
          dtype_name(weight.dtype()), weight.shape().str());
  }
}

void run_cuda(Stream& stream, const MatmulCudaArgs& args) {
  static const CudaKernel<MatmulCudaArgs> kernel("aquatint_cuda_matmul");
  kernel(stream, args);
}

template <typename T>
MatmulCudaArgs cuda_args(CudaProduct product, const GpuOperands<T>& o, const float* bias, void* y,
                         std::int64_t ldy, bool accumulate) {
  MatmulCudaArgs args;
  args.product = product;
  args.x = o.x;
  args.w = o.w;
  args.bias = bias;
  args.y = y;
  args.rows = o.rows;
  args.outputs = o.outputs;
  args.columns = o.columns;
  args.ldx = o.ldx;
  args.ldw = o.ldw;
  args.ldy = ldy;
  args.accumulate = accumulate;
  return args;
}

}  // namespace

DenseWeights DenseWeights::pack(Stream& stream, const Tensor& weight, DenseType type) {
  if (!stream.is_cuda()) return pack(weight, type);
  check_matrix(weight);
  DenseWeights result;
  result.outputs_ = weight.dim(0);
  result.columns_ = weight.dim(1);
  result.type_ = type;
  const DType wanted = type == DenseType::kBF16 ? DType::kBF16 : DType::kF32;
  result.plain_ = (weight.dtype() == wanted ? weight : weight.to(wanted)).on(stream);
  return result;
}

DenseWeights DenseWeights::pack(const Tensor& weight, DenseType type) {
  check_matrix(weight);
  DenseWeights result;
  result.outputs_ = weight.dim(0);
  result.columns_ = weight.dim(1);
  result.type_ = type;
  const bool bf16 = type == DenseType::kBF16;
  const bool native = !bf16 || detail::is_native(Product::kBF16);
  const auto fill = [&](std::int64_t begin, std::int64_t end, void* out) {
    fill_rows(weight, begin, end, bf16 ? DType::kBF16 : DType::kF32, out);
  };
  const auto fill_widened = [&](std::int64_t begin, std::int64_t end, void* out) {
    std::vector<std::uint16_t> rounded(size((end - begin) * weight.dim(1)));
    fill(begin, end, rounded.data());
    convert_to_f32(DType::kBF16, rounded.data(), rounded.size(), static_cast<float*>(out));
  };
  if (native) {
    result.packed_ = std::make_shared<PackedMatrix>(bf16 ? Product::kBF16 : Product::kF32,
                                                    result.outputs_, result.columns_, fill);
  } else {
    result.packed_ = std::make_shared<PackedMatrix>(Product::kF32, result.outputs_, result.columns_,
                                                    fill_widened);
  }
  return result;
}

std::size_t DenseWeights::nbytes() const {
  if (plain_.defined()) return plain_.nbytes();
  return packed_ ? packed_->nbytes() : 0;
}

void matmul_f32(Stream& stream, const float* x, std::int64_t rows, const DenseWeights& weights,
                const float* bias, float* y, std::int64_t ldy, bool accumulate) {
  if (!stream.is_cuda()) {
    AQUATINT_ASSERT(!accumulate);
    return matmul_f32(x, rows, weights, bias, y, ldy);
  }
  AQUATINT_ASSERT(weights.plain_.defined() && weights.type() == DenseType::kF32);
  const GpuOperands<float> operands{x,
                                    rows,
                                    weights.columns(),
                                    weights.plain_.data<float>(),
                                    weights.outputs(),
                                    weights.columns(),
                                    weights.columns()};
  run_cuda(stream, cuda_args(CudaProduct::kF32, operands, bias, y, ldy, accumulate));
}

void matmul_bf16(Stream& stream, const std::uint16_t* x, std::int64_t rows,
                 const DenseWeights& weights, const float* bias, float* y, std::int64_t ldy,
                 bool accumulate) {
  if (!stream.is_cuda()) {
    AQUATINT_ASSERT(!accumulate);
    return matmul_bf16(x, rows, weights, bias, y, ldy);
  }
  AQUATINT_ASSERT(weights.plain_.defined() && weights.type() == DenseType::kBF16);
  matmul_bf16_gpu(stream,
                  {x, rows, weights.columns(), weights.plain_.data<std::uint16_t>(),
                   weights.outputs(), weights.columns(), weights.columns()},
                  bias, y, ldy, accumulate);
}

void matmul_bf16_gpu(Stream& stream, const GpuOperands<std::uint16_t>& operands, const float* bias,
                     float* y, std::int64_t ldy, bool accumulate) {
  AQUATINT_ASSERT(ldy >= operands.outputs);
  run_cuda(stream, cuda_args(CudaProduct::kBF16, operands, bias, y, ldy, accumulate));
}

void matmul_bf16_gpu(Stream& stream, const GpuOperands<std::uint16_t>& operands, std::uint16_t* y,
                     std::int64_t ldy) {
  AQUATINT_ASSERT(ldy >= operands.outputs);
  auto args = cuda_args(CudaProduct::kBF16, operands, nullptr, y, ldy, false);
  args.bf16_result = true;
  run_cuda(stream, args);
}

bool matmul_int8_gpu(Stream& stream, const GpuOperands<std::int8_t>& operands, std::int32_t* y) {
  if (operands.outputs % 4 != 0) return false;
  AQUATINT_ASSERT(operands.columns % 4 == 0);
  run_cuda(stream, cuda_args(CudaProduct::kInt8, operands, nullptr, y, operands.outputs, false));
  return true;
}

void matmul_f32(const float* x, std::int64_t rows, const DenseWeights& weights, const float* bias,
                float* y, std::int64_t ldy) {
  AQUATINT_ASSERT(weights.defined() && weights.type() == DenseType::kF32);
  AQUATINT_ASSERT(ldy >= weights.outputs());
  multiply(*weights.packed_, x, rows, weights.columns(), bias, y, weights.outputs(), ldy);
}

void matmul_bf16(const std::uint16_t* x, std::int64_t rows, const DenseWeights& weights,
                 const float* bias, float* y, std::int64_t ldy) {
  AQUATINT_ASSERT(weights.defined() && weights.type() == DenseType::kBF16);
  AQUATINT_ASSERT(ldy >= weights.outputs());
  const std::int64_t columns = weights.columns();
  if (detail::is_native(Product::kBF16)) {
    multiply(*weights.packed_, x, rows, columns, bias, y, weights.outputs(), ldy);
    return;
  }
  std::vector<float> wide(size(std::min(rows, kBufferRows) * columns));
  for (std::int64_t m = 0; m < rows; m += kBufferRows) {
    const std::int64_t count = std::min(kBufferRows, rows - m);
    convert_to_f32(DType::kBF16, x + m * columns, size(count * columns), wide.data());
    multiply(*weights.packed_, wide.data(), count, columns, bias, y + m * ldy, weights.outputs(),
             ldy);
  }
}

Int8Weights Int8Weights::pack(const std::int8_t* w, std::int64_t n, std::int64_t k) {
  AQUATINT_ASSERT(n > 0 && k > 0);
  Int8Weights result;
  result.outputs_ = n;
  result.columns_ = k;
  if (detail::is_native(Product::kU8S8)) {
    result.packed_ = std::make_shared<PackedMatrix>(
        Product::kU8S8, n, k, [&](std::int64_t begin, std::int64_t end, void* out) {
          std::memcpy(out, w + begin * k, size((end - begin) * k));
        });
  } else {
    result.plain_ = Tensor::empty({n, k}, DType::kI8);
    std::memcpy(result.plain_.mutable_bytes(), w, size(n * k));
  }
  return result;
}

std::size_t Int8Weights::nbytes() const {
  if (plain_.defined()) return plain_.nbytes();
  return packed_ ? packed_->nbytes() : 0;
}

void matmul_u8s8(const std::uint8_t* x, std::int64_t rows, const Int8Weights& weights,
                 std::int32_t* y) {
  AQUATINT_ASSERT(weights.defined());
  if (rows <= 0) return;
  if (weights.packed_ != nullptr) {
    weights.packed_->multiply(x, rows, nullptr, y);
    return;
  }
  const auto* w = weights.plain_.data<std::int8_t>();
  const std::int64_t columns = weights.columns();
  const detail::U8S8Function function = detail::u8s8_variants().back().function;
  parallel_for(weights.outputs(), 16, [&](std::int64_t begin, std::int64_t end) {
    function(x, rows, columns, w + begin * columns, end - begin, y + begin, weights.outputs());
  });
}

namespace detail {

std::vector<U8S8Variant> u8s8_variants() {
  std::vector<U8S8Variant> variants{{Isa::kReference, matmul_u8s8_reference}};
#if defined(__x86_64__)
  if (active_isa() >= Isa::kAvx2) variants.push_back({Isa::kAvx2, matmul_u8s8_avx2});
#endif
  return variants;
}

}  // namespace detail
}  // namespace aquatint::kernels
