// Writes small GGUF files for tests, value by value, so that tests can also write what no converter
// would.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/gguf_file.h"
#include "formats/torch_testing.h"
#include "tensor/tensor.h"

namespace aquatint::testing {

class GgufWriter {
 public:
  explicit GgufWriter(std::uint64_t alignment = 32) : alignment_(alignment) {}

  static std::string text(std::string_view value) {
    return raw(std::uint64_t{value.size()}).append(value);
  }
  // Any value: the bytes that follow its type.
  GgufWriter& value(std::string_view key, GgufType type, const std::string& bytes) {
    values_ += text(key) + raw(static_cast<std::uint32_t>(type)) + bytes;
    ++value_count_;
    return *this;
  }
  GgufWriter& set(std::string_view key, std::string_view v) {
    return value(key, GgufType::kString, text(v));
  }
  GgufWriter& set(std::string_view key, const char* v) { return set(key, std::string_view(v)); }
  GgufWriter& set(std::string_view key, std::uint32_t v) {
    return value(key, GgufType::kU32, raw(v));
  }
  GgufWriter& set(std::string_view key, float v) { return value(key, GgufType::kF32, raw(v)); }
  GgufWriter& set(std::string_view key, bool v) {
    return value(key, GgufType::kBool, std::string(1, v ? '\1' : '\0'));
  }
  GgufWriter& set(std::string_view key, const std::vector<std::string>& items) {
    std::string bytes = raw(GgufType::kString) + raw(std::uint64_t{items.size()});
    for (const std::string& item : items) bytes += text(item);
    return value(key, GgufType::kArray, bytes);
  }
  GgufWriter& set(std::string_view key, const std::vector<std::int32_t>& items) {
    std::string bytes = raw(GgufType::kI32) + raw(std::uint64_t{items.size()});
    for (const std::int32_t item : items) bytes += raw(item);
    return value(key, GgufType::kArray, bytes);
  }
  GgufWriter& set(std::string_view key, const std::vector<float>& items) {
    std::string bytes = raw(GgufType::kF32) + raw(std::uint64_t{items.size()});
    for (const float item : items) bytes += raw(item);
    return value(key, GgufType::kArray, bytes);
  }

  // A tensor of `shape` (the row last) and any element type.
  GgufWriter& tensor(std::string_view name, const std::vector<std::int64_t>& shape,
                     std::uint32_t type, const std::string& bytes) {
    return tensor_at(name, shape, type, data_.size(), bytes);
  }
  GgufWriter& tensor(std::string_view name, const Tensor& values) {
    std::vector<std::int64_t> shape;
    for (int i = 0; i < values.shape().rank(); ++i) shape.push_back(values.dim(i));
    const std::uint32_t type = values.dtype() == DType::kF32   ? 0u
                               : values.dtype() == DType::kF16 ? 1u
                                                               : 30u;
    return tensor(name, shape, type,
                  {reinterpret_cast<const char*>(values.bytes()), values.nbytes()});
  }
  // The same, said to be somewhere else in the data.
  GgufWriter& tensor_at(std::string_view name, const std::vector<std::int64_t>& shape,
                        std::uint32_t type, std::uint64_t offset, const std::string& bytes) {
    infos_ += text(name) + raw(static_cast<std::uint32_t>(shape.size()));
    for (auto size = shape.rbegin(); size != shape.rend(); ++size) infos_ += raw(*size);
    infos_ += raw(type) + raw(offset);
    data_ += bytes;
    pad(data_);
    ++tensor_count_;
    return *this;
  }

  std::string bytes(std::uint32_t version = 3) const {
    std::string out = "GGUF";
    out += raw(version) + raw(tensor_count_) + raw(value_count_) + values_ + infos_;
    pad(out);
    return out + data_;
  }

 private:
  void pad(std::string& bytes) const {
    while (bytes.size() % alignment_ != 0) bytes += '\0';
  }

  std::uint64_t alignment_;
  std::string values_, infos_, data_;
  std::uint64_t value_count_ = 0, tensor_count_ = 0;
};

}  // namespace aquatint::testing
