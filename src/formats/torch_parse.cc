// From the bytes of a PyTorch file to the places of its storages, in both forms that such files
// have.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "formats/byte_reader.h"
#include "formats/pickle.h"
#include "formats/torch_files.h"
#include "formats/torch_state_dict.h"
#include "formats/zip_archive.h"

namespace aquatint {
namespace {

// --- the form with ZIP -------------------------------------------------------------------------

using ZipEntries = std::map<std::string, ZipEntry>;

// The folder that everything of a checkpoint is in: the one with data.pkl.
std::string find_root(const ZipEntries& entries, const std::string& origin) {
  constexpr std::string_view kPickle = "/data.pkl";
  std::optional<std::string> root;
  for (const auto& [name, entry] : entries) {
    if (!name.ends_with(kPickle)) continue;
    const std::string folder = name.substr(0, name.size() - kPickle.size());
    if (folder.find('/') != std::string::npos) continue;
    if (root) raise(ErrorKind::kCorrupt, "'{}': has two files data.pkl", origin);
    root = folder;
  }
  if (!root) {
    raise(ErrorKind::kUnsupported, "'{}': a ZIP file without data.pkl is no PyTorch checkpoint",
          origin);
  }
  return *root;
}

void check_byte_order(const ZipEntries& entries, const std::string& root,
                      std::span<const std::byte> file, const std::string& origin) {
  const auto entry = entries.find(root + "/byteorder");
  if (entry == entries.end()) return;
  const std::string_view order(reinterpret_cast<const char*>(file.data()) + entry->second.offset,
                               entry->second.size);
  if (order != "little") {
    raise(ErrorKind::kUnsupported, "'{}': its byte order is '{}', only 'little' is supported",
          origin, printable(order));
  }
}

std::map<std::string, TensorEntry> parse_zip(std::span<const std::byte> file,
                                             const std::string& origin) {
  const ZipEntries entries = read_zip_directory(file, origin);
  const std::string root = find_root(entries, origin);
  check_byte_order(entries, root, file, origin);
  const ZipEntry& data = entries.at(root + "/data.pkl");
  const Pickle pickle =
      read_pickle(file.first(data.offset + data.size), data.offset, torch_globals(), origin);
  TorchStorages storages = find_torch_storages(pickle, file.size(), origin);
  for (auto& [key, storage] : storages) {
    const auto entry = entries.find(root + "/data/" + key);
    if (entry == entries.end()) {
      raise(ErrorKind::kCorrupt, "'{}': storage '{}' is missing", origin, printable(key));
    }
    const auto bytes = static_cast<std::size_t>(storage.numel * storage.type->size);
    if (entry->second.size != bytes) {
      raise(ErrorKind::kCorrupt, "'{}': storage '{}' has {} bytes; its {} elements need {}", origin,
            printable(key), entry->second.size, storage.numel, bytes);
    }
    storage.offset = entry->second.offset;
  }
  return read_state_dict(pickle, storages, file.size(), origin);
}

// --- the form without ZIP, before PyTorch 1.6
// ------------------------------------------------------

// 0x1950a86a20f9469cfc6c, little endian.
constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr std::int64_t kFormVersion = 1001;

bool is_legacy(std::span<const std::byte> file) {
  // PROTO 2, LONG1 of 10 bytes, the magic number.
  const std::string_view begin(reinterpret_cast<const char*>(file.data()),
                               std::min<std::size_t>(file.size(), 14));
  return begin.size() == 14 && begin.substr(2, 2) == "\x8a\x0a" && begin.substr(4) == kMagic;
}

void check_system(const Pickle& info, const std::string& origin) {
  const PickleValue& dict = info[info.root];
  for (std::size_t i = 0; dict.kind == PickleKind::kDict && i + 1 < dict.items.size(); i += 2) {
    const PickleValue& value = info[dict.items[i + 1]];
    if (info[dict.items[i]].text == "little_endian" && value.integer == 1) return;
  }
  raise(ErrorKind::kUnsupported, "'{}': was not written on a little-endian machine", origin);
}

// Places the storages, which follow each other in the order of `keys`: the number of elements, then
// the elements.
void place_storages(std::span<const std::byte> file, const Pickle& keys, TorchStorages& storages,
                    const std::string& origin) {
  ByteReader reader(file, origin, keys.end);
  std::size_t placed = 0;
  for (const PickleIndex index : keys[keys.root].items) {
    const PickleValue& key = keys[index];
    const auto found = storages.find(key.text);
    if (key.kind != PickleKind::kString || found == storages.end() || found->second.offset != 0) {
      raise(ErrorKind::kCorrupt, "'{}': its list of storages names '{}', which no tensor uses",
            origin, printable(key.text));
    }
    TorchStorage& storage = found->second;
    const auto numel = reader.number<std::int64_t>("a storage");
    if (numel != storage.numel) {
      raise(ErrorKind::kCorrupt, "'{}': storage '{}' has {} elements, and {} by its description",
            origin, printable(key.text), numel, storage.numel);
    }
    storage.offset = reader.position();
    reader.bytes(static_cast<std::uint64_t>(numel * storage.type->size), "a storage");
    ++placed;
  }
  if (placed != storages.size() || reader.remaining() != 0) {
    raise(ErrorKind::kCorrupt, "'{}': {} of {} storages, and {} bytes after them", origin, placed,
          storages.size(), reader.remaining());
  }
}

std::map<std::string, TensorEntry> parse_legacy(std::span<const std::byte> file,
                                                const std::string& origin) {
  const auto next = [&](std::size_t begin) {
    return read_pickle(file, begin, torch_globals(), origin);
  };
  const Pickle magic = next(0);
  const Pickle version = next(magic.end);
  if (version[version.root].integer != kFormVersion) {
    raise(ErrorKind::kUnsupported, "'{}': version {} of the form without ZIP is not supported",
          origin, version[version.root].integer);
  }
  const Pickle info = next(version.end);
  check_system(info, origin);
  const Pickle object = next(info.end);
  const Pickle keys = next(object.end);
  TorchStorages storages = find_torch_storages(object, file.size(), origin);
  place_storages(file, keys, storages, origin);
  return read_state_dict(object, storages, file.size(), origin);
}

}  // namespace

std::map<std::string, TensorEntry> parse_torch_file(std::span<const std::byte> file,
                                                    const std::string& origin) {
  if (is_zip(file)) return parse_zip(file, origin);
  if (is_legacy(file)) return parse_legacy(file, origin);
  raise(ErrorKind::kCorrupt,
        "'{}': no PyTorch checkpoint: it begins neither as a ZIP file nor as those before PyTorch "
        "1.6",
        origin);
}

}  // namespace aquatint
