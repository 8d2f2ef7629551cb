// A tensor: shape, element type and shared storage. Always contiguous and row-major, so a view is
// an offset and a shape. Storage may be heap memory, a memory-mapped file or the memory of a GPU,
// whose elements only kernels and Stream::copy can reach; copying a Tensor copies a reference.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "base/dtype.h"
#include "base/error.h"
#include "device/device.h"

namespace aquatint {

class MappedFile;
class Stream;

// Up to four dimensions; rank 0 is one element.
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);
  // Error kUnsupported beyond kMaxRank dimensions.
  explicit Shape(std::span<const std::int64_t> dims);

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  // Product of all dimensions.
  std::int64_t numel() const;
  bool operator==(const Shape& other) const = default;
  // "[384, 1024]".
  std::string str() const;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

class Tensor {
 public:
  Tensor() = default;
  // Uninitialized memory aligned to 64 bytes, of the heap or a GPU. Error kOutOfMemory.
  static Tensor empty(Shape shape, DType dtype, Device device = {});
  static Tensor zeros(Shape shape, DType dtype);
  // The same in memory that is fast to read from end to end: base/large_pages.h.
  static Tensor weight_zeros(Shape shape, DType dtype);
  // A view of [offset, offset + bytes) of a mapped file, kept alive by the tensor. Read-only, and
  // not necessarily aligned to its element size.
  static Tensor mapped(std::shared_ptr<const MappedFile> file, std::size_t offset, Shape shape,
                       DType dtype);

  const Shape& shape() const { return shape_; }
  std::int64_t dim(int i) const { return shape_[i]; }
  DType dtype() const { return dtype_; }
  std::int64_t numel() const { return shape_.numel(); }
  std::size_t nbytes() const { return static_cast<std::size_t>(numel()) * dtype_size(dtype_); }
  bool defined() const { return owner_ != nullptr; }
  Device device() const { return device_; }

  const std::byte* bytes() const { return data_; }
  // REQUIRES: not a mapped tensor.
  std::byte* mutable_bytes() const;

  // Typed access; REQUIRES that T matches dtype() and that the data is aligned (heap tensors are).
  template <typename T>
  const T* data() const {
    check_type(sizeof(T));
    return reinterpret_cast<const T*>(data_);
  }
  template <typename T>
  T* mutable_data() const {
    check_type(sizeof(T));
    return reinterpret_cast<T*>(mutable_bytes());
  }

  // The elements in the memory of the stream's device: this tensor if they are there, else a copy
  // (of a GPU's memory only to the CPU, after what is queued).
  Tensor on(Stream& stream) const;
  // The same elements under another shape of the same size.
  Tensor reshape(Shape shape) const;
  // Rows [begin, end) of the first dimension, sharing storage.
  Tensor rows(std::int64_t begin, std::int64_t end) const;
  // A heap copy in float32 (or a copy if it is float32 already). REQUIRES, as all that follow: not
  // on a GPU.
  Tensor to_f32() const;
  // A heap copy with elements converted from float32 to `dtype`.
  Tensor to(DType dtype) const;
  Tensor clone() const;
  // A heap copy [n, m] of this [m, n].
  Tensor transposed() const;

 private:
  void check_type(std::size_t element_size) const;
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  bool writable_ = false;
  Device device_;
  Shape shape_;
  DType dtype_ = DType::kF32;
};

}  // namespace aquatint
