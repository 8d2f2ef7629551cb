// Writes small PyTorch files for tests: pickles instruction by instruction, and the ZIP file around
// them, so that tests can also write what torch.save never would.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace aquatint::testing {

// The bytes of a number as the machine (little endian) has them.
template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// Parts of a pickle. Each leaves one value on the stack.
namespace pickle {

inline std::string text(std::string_view value) {
  return std::string("X") + raw(static_cast<std::uint32_t>(value.size())) + std::string(value);
}
inline std::string integer(std::int64_t value) {
  return std::string("\x8a\x08") + raw(value);  // LONG1
}
inline std::string global(std::string_view module, std::string_view name) {
  return std::string("c").append(module).append("\n").append(name).append("\n");
}
inline std::string tuple(const std::vector<std::string>& items) {
  std::string out = "(";
  for (const std::string& item : items) out += item;
  return out + "t";
}
inline std::string integers(const std::vector<std::int64_t>& values) {
  std::vector<std::string> items;
  for (const std::int64_t value : values) items.push_back(integer(value));
  return tuple(items);
}
inline std::string call(const std::string& function, const std::string& arguments) {
  return function + arguments + "R";
}
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out = "}(";
  for (const auto& [key, value] : items) out += text(key) + value;
  return out + "u";
}
inline std::string ordered_dict() {
  return call(global("collections", "OrderedDict"), ")");
}
// `type` is "FloatStorage" and the like.
inline std::string storage(std::string_view type, std::string_view key, std::int64_t numel) {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"), integer(numel)}) +
         "Q";
}
inline std::string tensor(const std::string& storage, std::int64_t offset,
                          const std::vector<std::int64_t>& size,
                          const std::vector<std::int64_t>& strides) {
  return call(
      global("torch._utils", "_rebuild_tensor_v2"),
      tuple({storage, integer(offset), integers(size), integers(strides), "\x89", ordered_dict()}));
}
// A whole pickle that holds `value`.
inline std::string file(const std::string& value) {
  return "\x80\x02" + value + ".";
}

}  // namespace pickle

struct ZipFile {
  std::string name, bytes;
  std::uint16_t method = 0;
  std::uint16_t flags = 0;
};

// A ZIP file of stored entries; with `wide`, its sizes are in ZIP64 records.
inline std::string zip_bytes(const std::vector<ZipFile>& files, bool wide = false) {
  std::string out, directory;
  for (const ZipFile& file : files) {
    const auto at = static_cast<std::uint32_t>(out.size());
    const auto size = static_cast<std::uint32_t>(file.bytes.size());
    const auto name = static_cast<std::uint16_t>(file.name.size());
    const std::string time_and_crc(8, '\0');
    const std::string padding =
        std::string("FB") + raw(std::uint16_t{3}) + "ZZZ";  // as PyTorch aligns data
    out += raw(std::uint32_t{0x04034b50}) + raw(std::uint16_t{0}) + raw(file.flags) +
           raw(file.method) + time_and_crc + raw(size) + raw(size) + raw(name) +
           raw(static_cast<std::uint16_t>(padding.size())) + file.name + padding + file.bytes;
    const std::uint32_t all = 0xffffffff;
    const std::string extra = wide ? raw(std::uint16_t{1}) + raw(std::uint16_t{24}) +
                                         raw(std::uint64_t{size}) + raw(std::uint64_t{size}) +
                                         raw(std::uint64_t{at})
                                   : "";
    directory += raw(std::uint32_t{0x02014b50}) + raw(std::uint32_t{0}) + raw(file.flags) +
                 raw(file.method) + time_and_crc + raw(wide ? all : size) + raw(wide ? all : size) +
                 raw(name) + raw(static_cast<std::uint16_t>(extra.size())) + std::string(10, '\0') +
                 raw(wide ? all : at) + file.name + extra;
  }
  const std::uint64_t begin = out.size(), count = files.size();
  out += directory;
  if (wide) {
    const std::uint64_t end = out.size();
    out += raw(std::uint32_t{0x06064b50}) + raw(std::uint64_t{44}) + raw(std::uint32_t{0}) +
           raw(std::uint64_t{0}) + raw(count) + raw(count) + raw(std::uint64_t{directory.size()}) +
           raw(begin);
    out +=
        raw(std::uint32_t{0x07064b50}) + raw(std::uint32_t{0}) + raw(end) + raw(std::uint32_t{1});
  }
  const std::uint16_t few = wide ? std::uint16_t{0xffff} : static_cast<std::uint16_t>(count);
  return out + raw(std::uint32_t{0x06054b50}) + raw(std::uint32_t{0}) + raw(few) + raw(few) +
         raw(wide ? 0xffffffffu : static_cast<std::uint32_t>(directory.size())) +
         raw(wide ? 0xffffffffu : static_cast<std::uint32_t>(begin)) + raw(std::uint16_t{0});
}

// A checkpoint of a pickle and its storages, which are called "0", "1", …
inline std::string torch_bytes(const std::string& value, const std::vector<std::string>& storages) {
  std::vector<ZipFile> files{{"archive/data.pkl", pickle::file(value)},
                             {"archive/byteorder", "little"}};
  for (std::size_t i = 0; i < storages.size(); ++i) {
    files.push_back({"archive/data/" + std::to_string(i), storages[i]});
  }
  files.push_back({"archive/version", "3\n"});
  return zip_bytes(files);
}

// The state dict of `tensors`, each in a storage of its own.
inline std::string state_dict_bytes(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  std::vector<std::pair<std::string, std::string>> items;
  std::vector<std::string> storages;
  for (const auto& [name, values] : tensors) {
    const char* type = values.dtype() == DType::kF32    ? "FloatStorage"
                       : values.dtype() == DType::kBF16 ? "BFloat16Storage"
                       : values.dtype() == DType::kF16  ? "HalfStorage"
                                                        : "LongStorage";
    std::vector<std::int64_t> size, strides;
    for (int i = 0; i < values.shape().rank(); ++i) size.push_back(values.dim(i));
    strides.assign(size.size(), 1);
    for (std::size_t i = size.size(); i-- > 1;) strides[i - 1] = strides[i] * size[i];
    const std::string key = std::to_string(storages.size());
    items.emplace_back(
        name, pickle::tensor(pickle::storage(type, key, values.numel()), 0, size, strides));
    storages.emplace_back(reinterpret_cast<const char*>(values.bytes()), values.nbytes());
  }
  return torch_bytes(pickle::dict(items), storages);
}

}  // namespace aquatint::testing
