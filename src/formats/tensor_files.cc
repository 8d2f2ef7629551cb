#include "formats/tensor_files.h"

#include <fmt/ranges.h>

#include <array>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "formats/config.h"

namespace aquatint {
namespace {

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

void require_shards(const std::filesystem::path& index, const std::set<std::string>& shards) {
  std::vector<std::string> missing;
  for (const std::string& shard : shards) {
    std::error_code ignored;
    if (!std::filesystem::exists(index.parent_path() / shard, ignored)) {
      missing.push_back(printable(shard));
    }
  }
  if (missing.empty()) return;
  raise(ErrorKind::kNotFound, "'{}': {} of {} files it lists {} missing: {}", index.string(),
        missing.size(), shards.size(), missing.size() == 1 ? "is" : "are",
        printable(fmt::format("{}", fmt::join(missing, ", ")), 300));
}

}  // namespace

std::int64_t TensorFiles::total_bytes() const {
  std::set<std::pair<std::size_t, std::size_t>> seen;  // file and first byte
  std::int64_t total = 0;
  for (const auto& [name, entry] : entries_) {
    if (entry.nbytes == 0 || !seen.emplace(entry.file, entry.offset).second) continue;
    total += static_cast<std::int64_t>(entry.nbytes);
  }
  return total;
}

void TensorFiles::release(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  files_[found->second.file]->release(found->second.offset, found->second.nbytes);
}

void TensorFiles::add_file(const std::filesystem::path& path, const ReadFile& read) {
  files_.push_back(MappedFile::open(path));
  for (auto& [name, entry] : read(*files_.back())) {
    TensorEntry placed = entry;
    placed.file = files_.size() - 1;
    entries_.emplace(name, std::move(placed));
  }
}

void TensorFiles::add_index(const std::filesystem::path& index, const ReadFile& read) {
  const std::map<std::string, std::string> map = read_weight_map(Config::read(index));
  std::set<std::string> shards;
  for (const auto& [name, shard] : map) shards.insert(shard);
  require_shards(index, shards);
  std::map<std::string, std::map<std::string, TensorEntry>> found;
  for (const std::string& shard : shards) {
    files_.push_back(MappedFile::open(index.parent_path() / shard));
    found[shard] = read(*files_.back());
    for (auto& [name, entry] : found[shard]) entry.file = files_.size() - 1;
  }
  for (const auto& [name, shard] : map) {
    const auto entry = found.at(shard).find(name);
    if (entry == found.at(shard).end()) {
      raise(ErrorKind::kCorrupt, "'{}': tensor '{}' is said to be in '{}', which does not have it",
            index.string(), printable(name), shard);
    }
    entries_.emplace(name, entry->second);
  }
}

const TensorEntry& TensorFiles::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    raise(ErrorKind::kNotFound, "'{}': no tensor '{}' among its {}",
          files_.empty() ? "" : files_[0]->path().string(), printable(name), entries_.size());
  }
  return found->second;
}

std::string TensorFiles::origin(const TensorEntry& entry) const {
  return files_[entry.file]->path().string();
}

Shape TensorFiles::shape_of(const std::string& name) const {
  const TensorEntry& found = entry(name);
  if (found.shape.size() > Shape::kMaxRank) {
    raise(ErrorKind::kUnsupported, "'{}': tensor '{}' has {} dimensions; at most {} are supported",
          origin(found), printable(name), found.shape.size(), Shape::kMaxRank);
  }
  return Shape(std::span<const std::int64_t>(found.shape));
}

Tensor TensorFiles::view(const std::string& name, DType dtype) const {
  const TensorEntry& found = entry(name);
  return Tensor::mapped(files_[found.file], found.offset, shape_of(name), dtype);
}

void TensorFiles::raise_dtype(const std::string& name) const {
  const TensorEntry& found = entry(name);
  raise(ErrorKind::kUnsupported, "'{}': tensor '{}' has dtype {}, which is not supported",
        origin(found), printable(name), found.dtype_name);
}

std::optional<DType> plain_dtype(std::string_view name) {
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

}  // namespace aquatint
