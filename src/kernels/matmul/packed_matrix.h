// A weight matrix in oneDNN's blocked layout and the products with it. The library stays behind
// this header: only packed_matrix.cc includes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace aquatint::kernels::detail {

enum class Product { kF32, kBF16, kU8S8 };

// Whether this processor (or the level AQUATINT_ISA allows) has instructions for the product. kF32
// always is; the others are exact or fast only where they are native.
bool is_native(Product product);

class PackedMatrix {
 public:
  // Writes rows [begin, end) of the row-major matrix, in the product's weight type, to `out`.
  using FillRows = std::function<void(std::int64_t begin, std::int64_t end, void* out)>;

  PackedMatrix(Product product, std::int64_t outputs, std::int64_t columns, const FillRows& fill);
  ~PackedMatrix();
  PackedMatrix(const PackedMatrix&) = delete;
  PackedMatrix& operator=(const PackedMatrix&) = delete;

  std::size_t nbytes() const;
  // y [rows, outputs], dense, = x [rows, columns] W^T (+ bias). x, y have the product's types
  // (float32, bfloat16 or uint8; float32 or int32). Parallel, or serial when called inside a
  // parallel region.
  void multiply(const void* x, std::int64_t rows, const float* bias, void* y) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace aquatint::kernels::detail
