#include <fmt/ranges.h>

#include <array>
#include <optional>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "formats/config.h"
#include "formats/safetensors.h"

namespace aquatint {
namespace {

std::optional<DType> dtype_of(const std::string& name) {
  static constexpr std::array<std::pair<std::string_view, DType>, 7> kTypes{{
      {"F32", DType::kF32},
      {"F16", DType::kF16},
      {"BF16", DType::kBF16},
      {"I8", DType::kI8},
      {"U8", DType::kU8},
      {"I32", DType::kI32},
      {"I64", DType::kI64},
  }};
  for (const auto& [text, dtype] : kTypes) {
    if (text == name) return dtype;
  }
  return std::nullopt;
}

// A shard name is a plain file name: an index must not reach outside its folder.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

// Tensor name -> shard, from the index, checked.
std::map<std::string, std::string> read_weight_map(const Config& index) {
  std::map<std::string, std::string> map;
  const Config weights = index.child("weight_map");
  for (const std::string& name : weights.keys()) {
    const std::string shard = weights.get_string(name);
    if (!is_plain_file_name(shard)) {
      raise(ErrorKind::kCorrupt,
            "'{}': tensor '{}' is said to be in '{}', which is not the name of a "
            "file in this folder",
            index.origin(), printable(name), printable(shard));
    }
    map.emplace(name, shard);
  }
  return map;
}

bool has_pytorch_files(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / "pytorch_model.bin", ignored) ||
         std::filesystem::exists(folder / "pytorch_model.bin.index.json", ignored);
}

}  // namespace

SafetensorsSet SafetensorsSet::open_file(const std::filesystem::path& path) {
  SafetensorsSet set;
  set.files_.push_back(MappedFile::open(path));
  SafetensorsHeader header = parse_safetensors_header(set.files_[0]->bytes(), path.string());
  set.entries_ = std::move(header.entries);
  set.metadata_ = std::move(header.metadata);
  return set;
}

SafetensorsSet SafetensorsSet::open_folder(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder, ignored)) {
    raise(ErrorKind::kNotFound, "'{}': no such folder", folder.string());
  }
  if (!std::filesystem::is_directory(folder, ignored)) {
    raise(ErrorKind::kInvalidArgument, "'{}': not a folder", folder.string());
  }
  const std::filesystem::path single = folder / "model.safetensors";
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  if (std::filesystem::exists(single, ignored)) return open_file(single);
  if (std::filesystem::exists(index, ignored)) return open_index(index);
  if (has_pytorch_files(folder)) {
    raise(ErrorKind::kUnsupported,
          "'{}': has only PyTorch .bin weights; convert them to model.safetensors first",
          folder.string());
  }
  raise(ErrorKind::kNotFound,
        "'{}': no weights: neither model.safetensors nor model.safetensors.index.json is there",
        folder.string());
}

SafetensorsSet SafetensorsSet::open_index(const std::filesystem::path& index) {
  const std::map<std::string, std::string> map = read_weight_map(Config::read(index));
  std::map<std::string, std::map<std::string, TensorEntry>> shards;
  for (const auto& [name, shard] : map) shards[shard];
  std::vector<std::string> missing;
  for (const auto& [shard, entries] : shards) {
    std::error_code ignored;
    if (!std::filesystem::exists(index.parent_path() / shard, ignored)) {
      missing.push_back(printable(shard));
    }
  }
  if (!missing.empty()) {
    raise(ErrorKind::kNotFound, "'{}': {} of {} files it lists {} missing: {}", index.string(),
          missing.size(), shards.size(), missing.size() == 1 ? "is" : "are",
          printable(fmt::format("{}", fmt::join(missing, ", ")), 300));
  }
  SafetensorsSet set;
  for (auto& [shard, entries] : shards) {
    const std::filesystem::path path = index.parent_path() / shard;
    set.files_.push_back(MappedFile::open(path));
    SafetensorsHeader header = parse_safetensors_header(set.files_.back()->bytes(), path.string());
    for (auto& [name, entry] : header.entries) entry.file = set.files_.size() - 1;
    entries = std::move(header.entries);
    set.metadata_.merge(header.metadata);
  }
  for (const auto& [name, shard] : map) {
    const auto& entries = shards.at(shard);
    const auto found = entries.find(name);
    if (found == entries.end()) {
      raise(ErrorKind::kCorrupt, "'{}': tensor '{}' is said to be in '{}', which does not have it",
            index.string(), printable(name), shard);
    }
    set.entries_.emplace(name, found->second);
  }
  return set;
}

Tensor SafetensorsSet::tensor(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    raise(ErrorKind::kNotFound, "'{}': no tensor '{}' among its {}",
          files_.empty() ? "" : files_[0]->path().string(), printable(name), entries_.size());
  }
  const TensorEntry& entry = found->second;
  const std::string origin = files_[entry.file]->path().string();
  const std::optional<DType> dtype = dtype_of(entry.dtype_name);
  if (!dtype) {
    raise(ErrorKind::kUnsupported, "'{}': tensor '{}' has dtype {}, which is not supported", origin,
          printable(name), entry.dtype_name);
  }
  if (entry.shape.size() > Shape::kMaxRank) {
    raise(ErrorKind::kUnsupported, "'{}': tensor '{}' has {} dimensions; at most {} are supported",
          origin, printable(name), entry.shape.size(), Shape::kMaxRank);
  }
  return Tensor::mapped(files_[entry.file], entry.offset,
                        Shape(std::span<const std::int64_t>(entry.shape)), *dtype);
}

std::int64_t SafetensorsSet::total_bytes() const {
  std::int64_t total = 0;
  for (const auto& [name, entry] : entries_) total += static_cast<std::int64_t>(entry.nbytes);
  return total;
}

}  // namespace aquatint
