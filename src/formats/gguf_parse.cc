// From the bytes of a GGUF file to its metadata and the places of its tensors.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "formats/byte_reader.h"
#include "formats/ggml_blocks.h"
#include "formats/gguf_file.h"

namespace aquatint {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint32_t kOldestVersion = 2, kNewestVersion = 3;
constexpr std::uint32_t kMostDimensions = 4;
constexpr std::uint64_t kDefaultAlignment = 32;

struct TypeInfo {
  const char* name;
  std::uint64_t size;  // 0: not fixed
};

// By the numbers of GgufType.
constexpr std::array<TypeInfo, 13> kTypes{{{"uint8", 1},
                                           {"int8", 1},
                                           {"uint16", 2},
                                           {"int16", 2},
                                           {"uint32", 4},
                                           {"int32", 4},
                                           {"float32", 4},
                                           {"bool", 1},
                                           {"string", 0},
                                           {"array", 0},
                                           {"uint64", 8},
                                           {"int64", 8},
                                           {"float64", 8}}};

const TypeInfo& info_of(GgufType type) {
  return kTypes[static_cast<std::size_t>(type)];
}

template <typename T>
T element(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// An element as an integer; empty if it is none or does not fit.
std::optional<std::int64_t> int_at(GgufType type, const std::byte* at) {
  switch (type) {
    case GgufType::kU8:
      return element<std::uint8_t>(at);
    case GgufType::kI8:
      return element<std::int8_t>(at);
    case GgufType::kU16:
      return element<std::uint16_t>(at);
    case GgufType::kI16:
      return element<std::int16_t>(at);
    case GgufType::kU32:
      return element<std::uint32_t>(at);
    case GgufType::kI32:
      return element<std::int32_t>(at);
    case GgufType::kI64:
      return element<std::int64_t>(at);
    case GgufType::kU64: {
      const auto value = element<std::uint64_t>(at);
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {};
      return static_cast<std::int64_t>(value);
    }
    default:
      return {};
  }
}

}  // namespace

class GgufParser {
 public:
  GgufParser(std::span<const std::byte> file, const std::string& origin)
      : file_(file), origin_(origin), reader_(file, origin) {}

  GgufContents parse() {
    contents_.metadata.origin_ = origin_;
    const auto [tensors, values] = read_header();
    for (std::uint64_t i = 0; i < values; ++i) read_value();
    const std::uint64_t alignment = read_alignment();
    for (std::uint64_t i = 0; i < tensors; ++i) read_tensor(alignment);
    place_tensors(alignment);
    return std::move(contents_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void corrupt(fmt::format_string<Args...> text, Args&&... args) const {
    raise(ErrorKind::kCorrupt, "'{}': {}", origin_, fmt::format(text, std::forward<Args>(args)...));
  }

  // Numbers of tensors and of values.
  std::pair<std::uint64_t, std::uint64_t> read_header() {
    if (reader_.remaining() < 4 || reader_.number<std::uint32_t>("the header") != kMagic) {
      corrupt("not a GGUF file");
    }
    const auto version = reader_.number<std::uint32_t>("the header");
    if (version < kOldestVersion || version > kNewestVersion) {
      const bool big_endian = (version & 0xffff) == 0 && version != 0;
      raise(ErrorKind::kUnsupported, "'{}': GGUF {} is not supported, only versions {} and {} are",
            origin_, big_endian ? "of big-endian machines" : fmt::format("version {}", version),
            kOldestVersion, kNewestVersion);
    }
    const auto tensors = reader_.number<std::uint64_t>("the header");
    return {tensors, reader_.number<std::uint64_t>("the header")};
  }

  std::string_view read_string(const char* what) {
    return reader_.text(reader_.number<std::uint64_t>(what), what);
  }

  GgufType read_type(const std::string& key) {
    const auto type = reader_.number<std::uint32_t>("the metadata");
    if (type >= kTypes.size()) {
      corrupt("the value of '{}' has type {}, which does not exist", printable(key), type);
    }
    return static_cast<GgufType>(type);
  }

  void read_value() {
    constexpr const char* kWhat = "the metadata";
    const std::string key(read_string(kWhat));
    GgufValue value;
    value.type = read_type(key);
    if (value.type == GgufType::kString) {
      const std::string_view text = read_string(kWhat);
      value.bytes = std::as_bytes(std::span(text.data(), text.size()));
    } else if (value.type == GgufType::kArray) {
      value = read_array(key);
    } else {
      value.bytes = reader_.bytes(info_of(value.type).size, kWhat);
    }
    check_bools(key, value);
    if (!contents_.metadata.values_.emplace(key, value).second) {
      corrupt("has the key '{}' twice", printable(key));
    }
  }

  GgufValue read_array(const std::string& key) {
    constexpr const char* kWhat = "the metadata";
    GgufValue value;
    value.is_array = true;
    value.type = read_type(key);
    value.count = reader_.number<std::uint64_t>(kWhat);
    const std::size_t begin = reader_.position();
    if (value.type == GgufType::kArray) {
      raise(ErrorKind::kUnsupported, "'{}': '{}' is an array of arrays", origin_, printable(key));
    }
    if (value.type == GgufType::kString) {
      for (std::uint64_t i = 0; i < value.count; ++i) read_string(kWhat);
    } else {
      const std::uint64_t size = info_of(value.type).size;
      if (value.count > reader_.remaining() / size) {
        corrupt("'{}' says {} elements of {} bytes; {} bytes are left", printable(key), value.count,
                size, reader_.remaining());
      }
      reader_.bytes(value.count * size, kWhat);
    }
    value.bytes = file_.subspan(begin, reader_.position() - begin);
    return value;
  }

  void check_bools(const std::string& key, const GgufValue& value) const {
    if (value.type != GgufType::kBool) return;
    for (const std::byte byte : value.bytes) {
      if (byte > std::byte{1}) {
        corrupt("'{}' is a bool of {}", printable(key), std::to_integer<int>(byte));
      }
    }
  }

  std::uint64_t read_alignment() const {
    const auto given = contents_.metadata.find_int("general.alignment");
    if (!given) return kDefaultAlignment;
    if (*given < 8 || *given > (1 << 20) || *given % 8 != 0) {
      corrupt("general.alignment is {}", *given);
    }
    return static_cast<std::uint64_t>(*given);
  }

  void read_tensor(std::uint64_t alignment) {
    constexpr const char* kWhat = "the list of tensors";
    const std::string name(read_string(kWhat));
    const std::string shown = printable(name);
    const auto rank = reader_.number<std::uint32_t>(kWhat);
    if (rank > kMostDimensions) corrupt("tensor '{}' has {} dimensions", shown, rank);
    TensorEntry entry;
    std::int64_t numel = 1, counted = 1;
    for (std::uint32_t i = 0; i < rank; ++i) {
      const auto size = static_cast<std::int64_t>(reader_.number<std::uint64_t>(kWhat));
      const bool fits = size >= 0 && !__builtin_mul_overflow(numel, size, &numel) &&
                        (size == 0 || !__builtin_mul_overflow(counted, size, &counted));
      if (!fits) corrupt("tensor '{}' has more elements than can be counted", shown);
      entry.shape.insert(entry.shape.begin(),
                         size);  // the row, which is last, comes first in files
    }
    const auto id = reader_.number<std::uint32_t>(kWhat);
    const GgmlType* type = find_ggml_type(id);
    if (type == nullptr) {
      raise(ErrorKind::kUnsupported, "'{}': tensor '{}' has element type {}, which is not known",
            origin_, shown, id);
    }
    const std::int64_t row = entry.shape.empty() ? 1 : entry.shape.back();
    if (row % type->values != 0) {
      corrupt("tensor '{}' has rows of {}, not a multiple of the {} of a block of {}", shown, row,
              type->values, type->name);
    }
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(numel / type->values, type->bytes, &bytes)) {
      corrupt("tensor '{}' has more bytes than can be counted", shown);
    }
    entry.dtype_name = type->name;
    entry.nbytes = static_cast<std::size_t>(bytes);
    entry.offset = reader_.number<std::uint64_t>(kWhat);  // from the start of the data, so far
    if (entry.offset % alignment != 0) {
      corrupt("tensor '{}' begins at {}, not a multiple of {}", shown, entry.offset, alignment);
    }
    if (!contents_.tensors.emplace(name, std::move(entry)).second) {
      corrupt("has two tensors '{}'", shown);
    }
  }

  // Offsets become those in the file; no tensor leaves it or shares a byte with another.
  void place_tensors(std::uint64_t alignment) {
    const std::uint64_t padding = (alignment - reader_.position() % alignment) % alignment;
    const std::uint64_t data = reader_.position() + padding;
    if (contents_.tensors.empty()) return;
    std::vector<std::pair<std::string, TensorEntry*>> ordered;
    for (auto& [name, entry] : contents_.tensors) {
      const bool fits = data <= file_.size() && entry.offset <= file_.size() - data &&
                        entry.nbytes <= file_.size() - data - entry.offset;
      if (!fits) {
        corrupt(
            "tensor '{}' ({} bytes at {} of the data, which begins at byte {}) ends past the "
            "end of the file ({})",
            printable(name), entry.nbytes, entry.offset, data, file_.size());
      }
      entry.offset += data;
      ordered.emplace_back(name, &entry);
    }
    std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second->offset, a.second->nbytes) <
             std::pair(b.second->offset, b.second->nbytes);
    });
    for (std::size_t i = 1; i < ordered.size(); ++i) {
      const TensorEntry& before = *ordered[i - 1].second;
      if (before.offset + before.nbytes > ordered[i].second->offset) {
        corrupt("tensors '{}' and '{}' share bytes", printable(ordered[i - 1].first),
                printable(ordered[i].first));
      }
    }
  }

  std::span<const std::byte> file_;
  const std::string& origin_;
  ByteReader reader_;
  GgufContents contents_;
};

GgufContents parse_gguf(std::span<const std::byte> file, const std::string& origin) {
  return GgufParser(file, origin).parse();
}

// --- metadata ----------------------------------------------------------------------------------

const GgufValue* GgufMetadata::find(const std::string& key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

void GgufMetadata::raise_type(const std::string& key, const char* expected,
                              const GgufValue& found) const {
  raise(ErrorKind::kCorrupt, "'{}': '{}' must be {}, but is {}{}", origin_, key, expected,
        found.is_array ? "an array of " : "", info_of(found.type).name);
}

void GgufMetadata::raise_missing(const std::string& key) const {
  raise(ErrorKind::kCorrupt, "'{}': '{}' is missing", origin_, key);
}

std::optional<std::int64_t> GgufMetadata::find_int(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return {};
  const auto number = value->is_array ? std::nullopt : int_at(value->type, value->bytes.data());
  if (!number) raise_type(key, "an integer", *value);
  return number;
}

std::optional<double> GgufMetadata::find_number(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array && value->type == GgufType::kF32) return element<float>(value->bytes.data());
  if (!value->is_array && value->type == GgufType::kF64)
    return element<double>(value->bytes.data());
  const auto number = value->is_array ? std::nullopt : int_at(value->type, value->bytes.data());
  if (!number) raise_type(key, "a number", *value);
  return static_cast<double>(*number);
}

std::optional<bool> GgufMetadata::find_bool(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return {};
  if (value->is_array || value->type != GgufType::kBool) raise_type(key, "a bool", *value);
  return value->bytes[0] != std::byte{0};
}

std::optional<std::string> GgufMetadata::find_string(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return {};
  if (value->is_array || value->type != GgufType::kString) raise_type(key, "a string", *value);
  return std::string(reinterpret_cast<const char*>(value->bytes.data()), value->bytes.size());
}

std::int64_t GgufMetadata::get_int(const std::string& key) const {
  const auto value = find_int(key);
  if (!value) raise_missing(key);
  return *value;
}

double GgufMetadata::get_number(const std::string& key) const {
  const auto value = find_number(key);
  if (!value) raise_missing(key);
  return *value;
}

std::string GgufMetadata::get_string(const std::string& key) const {
  const auto value = find_string(key);
  if (!value) raise_missing(key);
  return *value;
}

const GgufValue* GgufMetadata::find_array(const std::string& key, const char* expected) const {
  const GgufValue* value = find(key);
  if (value != nullptr && !value->is_array) raise_type(key, expected, *value);
  return value;
}

std::vector<std::string_view> GgufMetadata::strings(const std::string& key) const {
  const GgufValue* value = find_array(key, "an array of strings");
  if (value == nullptr) return {};
  if (value->type != GgufType::kString) raise_type(key, "an array of strings", *value);
  std::vector<std::string_view> out;
  out.reserve(static_cast<std::size_t>(value->count));  // each took 8 bytes of the file
  ByteReader reader(value->bytes, origin_);
  for (std::uint64_t i = 0; i < value->count; ++i) {
    out.push_back(reader.text(reader.number<std::uint64_t>("a string"), "a string"));
  }
  return out;
}

std::vector<std::int64_t> GgufMetadata::ints(const std::string& key) const {
  const GgufValue* value = find_array(key, "an array of integers");
  if (value == nullptr) return {};
  std::vector<std::int64_t> out;
  const std::uint64_t size = info_of(value->type).size;
  for (std::uint64_t i = 0; i < value->count; ++i) {
    const auto number = int_at(value->type, value->bytes.data() + i * size);
    if (!number) raise_type(key, "an array of integers", *value);
    out.push_back(*number);
  }
  return out;
}

std::vector<float> GgufMetadata::floats(const std::string& key) const {
  const GgufValue* value = find_array(key, "an array of float32");
  if (value == nullptr) return {};
  if (value->type != GgufType::kF32) raise_type(key, "an array of float32", *value);
  std::vector<float> out(static_cast<std::size_t>(value->count));
  if (!out.empty()) std::memcpy(out.data(), value->bytes.data(), value->bytes.size());
  return out;
}

}  // namespace aquatint
