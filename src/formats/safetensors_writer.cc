#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/partial_file.h"
#include "formats/safetensors.h"

namespace aquatint {
namespace {

const char* file_dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kI8:
      return "I8";
    case DType::kU8:
      return "U8";
    case DType::kI32:
      return "I32";
    case DType::kI64:
      return "I64";
  }
  return "";
}

struct Slot {
  TensorInfo info;
  std::uint64_t offset = 0;  // absolute
  bool written = false;
};

std::uint64_t info_bytes(const TensorInfo& info) {
  return static_cast<std::uint64_t>(info.shape.numel()) * dtype_size(info.dtype);
}

// Length, JSON and padding, for tensors already in the order of their data.
std::string make_header(const std::vector<TensorInfo>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  std::uint64_t offset = 0;
  for (const TensorInfo& info : tensors) {
    std::vector<std::int64_t> shape;
    for (int i = 0; i < info.shape.rank(); ++i) shape.push_back(info.shape[i]);
    const std::uint64_t end = offset + info_bytes(info);
    text += fmt::format(R"({}{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        text.size() > 1 ? "," : "", nlohmann::json(info.name).dump(),
                        file_dtype_name(info.dtype), fmt::join(shape, ","), offset, end);
    offset = end;
  }
  text += "}";
  const std::size_t padded = (text.size() + 7) / 8 * 8;
  std::string header(8, '\0');
  for (unsigned i = 0; i < 8; ++i) header[i] = static_cast<char>((padded >> (8 * i)) & 0xff);
  return header + text + std::string(padded - text.size(), ' ');
}

// Larger elements first, so that every tensor is aligned to its element size.
void sort_by_alignment(std::vector<TensorInfo>& tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    const std::size_t size_a = dtype_size(a.dtype), size_b = dtype_size(b.dtype);
    return size_a != size_b ? size_a > size_b : a.name < b.name;
  });
}

}  // namespace

struct SafetensorsWriter::Impl {
  PartialFile file;
  std::map<std::string, Slot> slots;

  Impl(std::filesystem::path path, const std::string& header,
       const std::vector<TensorInfo>& tensors, std::uint64_t size, PartialMode mode)
      : file(std::move(path), size, mode) {
    file.write_at(0, header.data(), header.size());
    std::uint64_t offset = header.size();
    for (const TensorInfo& info : tensors) {
      const bool added = slots.emplace(info.name, Slot{info, offset, false}).second;
      AQUATINT_ASSERT(added);  // names must differ
      offset += info_bytes(info);
    }
  }
};

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, std::vector<TensorInfo> tensors,
                                     std::map<std::string, std::string> metadata, bool resumable) {
  sort_by_alignment(tensors);
  const std::string header = make_header(tensors, metadata);
  std::uint64_t size = header.size();
  for (const TensorInfo& info : tensors) size += info_bytes(info);
  const PartialMode mode = resumable ? PartialMode::kContinue : PartialMode::kFresh;
  impl_ = std::make_unique<Impl>(std::move(path), header, tensors, size, mode);
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(const std::string& name, const Tensor& tensor) {
  AQUATINT_ASSERT(impl_ != nullptr);
  const auto found = impl_->slots.find(name);
  AQUATINT_ASSERT(found != impl_->slots.end());
  Slot& slot = found->second;
  AQUATINT_ASSERT(tensor.dtype() == slot.info.dtype && tensor.shape() == slot.info.shape);
  impl_->file.write_at(slot.offset, tensor.bytes(), tensor.nbytes());
  slot.written = true;
}

void SafetensorsWriter::mark_written(const std::string& name) {
  AQUATINT_ASSERT(impl_ != nullptr);
  const auto found = impl_->slots.find(name);
  AQUATINT_ASSERT(found != impl_->slots.end());
  found->second.written = true;
}

void SafetensorsWriter::flush() {
  AQUATINT_ASSERT(impl_ != nullptr);
  impl_->file.flush();
}

void SafetensorsWriter::finish() {
  AQUATINT_ASSERT(impl_ != nullptr);
  for (const auto& [name, slot] : impl_->slots) AQUATINT_ASSERT(slot.written);
  impl_->file.commit();
  impl_.reset();
}

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors) {
  std::vector<TensorInfo> infos;
  infos.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors)
    infos.push_back({name, tensor.dtype(), tensor.shape()});
  SafetensorsWriter writer(path, std::move(infos));
  for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
  writer.finish();
}

}  // namespace aquatint
