#include "tensor/tensor.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/large_pages.h"
#include "base/mapped_file.h"
#include "base/threads.h"
#include "device/device_memory.h"
#include "device/stream.h"

namespace aquatint {
namespace {

[[noreturn]] void raise_no_memory(std::size_t bytes, const Shape& shape, DType dtype) {
  raise(ErrorKind::kOutOfMemory, "cannot allocate {} bytes for a {} tensor {}", bytes,
        dtype_name(dtype), shape.str());
}

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> dims)
    : Shape(std::span<const std::int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  if (dims.size() > kMaxRank) {
    raise(ErrorKind::kUnsupported, "a tensor of {} dimensions; at most {} are supported",
          dims.size(), kMaxRank);
  }
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

std::int64_t Shape::numel() const {
  std::int64_t n = 1;
  for (int i = 0; i < rank_; ++i) n *= (*this)[i];
  return n;
}

std::string Shape::str() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += fmt::format("{}{}", i > 0 ? ", " : "", (*this)[i]);
  return text + "]";
}

Tensor Tensor::empty(Shape shape, DType dtype, Device device) {
  constexpr std::align_val_t kAlignment{64};
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.device_ = device;
  const std::size_t size = std::max<std::size_t>(t.nbytes(), 1);
  if (device.is_cuda()) {
    const std::shared_ptr<void> memory = allocate_on(device, size);
    t.owner_ = memory;
    t.data_ = static_cast<const std::byte*>(memory.get());
    t.writable_ = true;
    return t;
  }
  void* memory = ::operator new(size, kAlignment, std::nothrow);
  if (memory == nullptr) raise_no_memory(size, shape, dtype);
  t.owner_ = std::shared_ptr<const void>(
      memory, [](const void* p) { ::operator delete(const_cast<void*>(p), kAlignment); });
  t.data_ = static_cast<const std::byte*>(memory);
  t.writable_ = true;
  return t;
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  Tensor t = empty(shape, dtype);
  std::memset(t.mutable_bytes(), 0, t.nbytes());
  return t;
}

Tensor Tensor::weight_zeros(Shape shape, DType dtype) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  const std::shared_ptr<void> memory = allocate_on_large_pages(t.nbytes());
  if (memory == nullptr) raise_no_memory(t.nbytes(), shape, dtype);
  t.owner_ = memory;
  t.data_ = static_cast<const std::byte*>(memory.get());
  t.writable_ = true;
  return t;
}

Tensor Tensor::mapped(std::shared_ptr<const MappedFile> file, std::size_t offset, Shape shape,
                      DType dtype) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  const auto bytes = file->bytes();
  AQUATINT_ASSERT(offset <= bytes.size() && t.nbytes() <= bytes.size() - offset);
  t.data_ = bytes.data() + offset;
  t.owner_ = std::move(file);
  return t;
}

std::byte* Tensor::mutable_bytes() const {
  AQUATINT_ASSERT(writable_);
  return const_cast<std::byte*>(data_);
}

void Tensor::check_type(std::size_t element_size) const {
  AQUATINT_ASSERT(element_size == dtype_size(dtype_));
  AQUATINT_ASSERT(reinterpret_cast<std::uintptr_t>(data_) % element_size == 0);
}

Tensor Tensor::on(Stream& stream) const {
  if (!defined() || device_ == stream.device()) return *this;
  Tensor copy = empty(shape_, dtype_, stream.device());
  if (device_.is_cuda()) {
    AQUATINT_ASSERT(!stream.is_cuda());
    Stream& source = Stream::of(device_);
    source.copy(copy.mutable_bytes(), data_, nbytes());
    source.synchronize();
  } else {
    stream.upload(copy.mutable_bytes(), data_, nbytes());
  }
  return copy;
}

Tensor Tensor::reshape(Shape shape) const {
  AQUATINT_ASSERT(shape.numel() == numel());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  AQUATINT_ASSERT(shape_.rank() >= 1 && 0 <= begin && begin <= end && end <= shape_[0]);
  std::array<std::int64_t, Shape::kMaxRank> dims{};
  for (int i = 0; i < shape_.rank(); ++i) dims[static_cast<std::size_t>(i)] = shape_[i];
  const std::int64_t row = shape_[0] == 0 ? 0 : numel() / shape_[0];
  dims[0] = end - begin;
  Tensor t = *this;
  t.shape_ =
      Shape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(shape_.rank())));
  t.data_ = data_ + static_cast<std::size_t>(begin * row) * dtype_size(dtype_);
  return t;
}

Tensor Tensor::to_f32() const {
  AQUATINT_ASSERT(!device_.is_cuda());
  Tensor t = empty(shape_, DType::kF32);
  convert_to_f32(dtype_, data_, static_cast<std::size_t>(numel()), t.mutable_data<float>());
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return clone();
  const Tensor source = to_f32();
  Tensor t = empty(shape_, dtype);
  convert_from_f32(source.data<float>(), static_cast<std::size_t>(numel()), dtype,
                   t.mutable_bytes());
  return t;
}

namespace {

// Tiles keep both sides in the cache; elements may lie unaligned at `from`.
template <typename T>
void transpose(const std::byte* from, std::int64_t rows, std::int64_t columns, T* to) {
  constexpr std::int64_t kTile = 64;
  parallel_for((rows + kTile - 1) / kTile, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin * kTile; tile < std::min(rows, end * kTile); tile += kTile) {
      for (std::int64_t left = 0; left < columns; left += kTile) {
        for (std::int64_t r = tile; r < std::min(rows, tile + kTile); ++r) {
          for (std::int64_t c = left; c < std::min(columns, left + kTile); ++c) {
            std::memcpy(to + c * rows + r, from + (r * columns + c) * std::int64_t{sizeof(T)},
                        sizeof(T));
          }
        }
      }
    }
  });
}

}  // namespace

Tensor Tensor::transposed() const {
  AQUATINT_ASSERT(shape_.rank() == 2 && !device_.is_cuda());
  Tensor t = empty({shape_[1], shape_[0]}, dtype_);
  switch (dtype_size(dtype_)) {
    case 1:
      transpose(data_, shape_[0], shape_[1], reinterpret_cast<std::uint8_t*>(t.mutable_bytes()));
      break;
    case 2:
      transpose(data_, shape_[0], shape_[1], reinterpret_cast<std::uint16_t*>(t.mutable_bytes()));
      break;
    case 4:
      transpose(data_, shape_[0], shape_[1], reinterpret_cast<std::uint32_t*>(t.mutable_bytes()));
      break;
    default:
      transpose(data_, shape_[0], shape_[1], reinterpret_cast<std::uint64_t*>(t.mutable_bytes()));
  }
  return t;
}

Tensor Tensor::clone() const {
  Tensor t = empty(shape_, dtype_, device_);
  Stream::of(device_).copy(t.mutable_bytes(), data_, nbytes());
  return t;
}

}  // namespace aquatint
