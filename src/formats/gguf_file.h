// GGUF files, llama.cpp's container: typed metadata, and tensors that are plain or quantized in
// blocks. Quantized tensors are expanded to float32 when they are asked for. Names and metadata are
// llama.cpp's; models/gguf_model.h makes them those of Hugging Face. Layout and rules:
// docs/formats/gguf.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_files.h"

namespace aquatint {

// The types that a value of the metadata may have, by their numbers in files.
enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// A value where it lies in the file.
struct GgufValue {
  GgufType type = GgufType::kU8;  // of the elements, for an array
  bool is_array = false;
  std::uint64_t count = 1;           // elements
  std::span<const std::byte> bytes;  // of all elements; a string's own bytes, without its length,
                                     // where it is no element
};

// The key-value part of a file, which must outlive it.
class GgufMetadata {
 public:
  bool has(const std::string& key) const { return values_.count(key) > 0; }
  const std::map<std::string, GgufValue>& values() const { return values_; }

  // Empty when the key is absent; error kCorrupt, naming file and key, when the value has another
  // type. Any type of integer is an integer (beyond int64: kCorrupt), float32 and float64 are
  // numbers, and so is an integer.
  std::optional<std::int64_t> find_int(const std::string& key) const;
  std::optional<double> find_number(const std::string& key) const;
  std::optional<bool> find_bool(const std::string& key) const;
  std::optional<std::string> find_string(const std::string& key) const;
  // Error kCorrupt also when the key is absent.
  std::int64_t get_int(const std::string& key) const;
  double get_number(const std::string& key) const;
  std::string get_string(const std::string& key) const;
  // Arrays; empty when the key is absent.
  std::vector<std::string_view> strings(const std::string& key) const;
  std::vector<std::int64_t> ints(const std::string& key) const;
  std::vector<float> floats(const std::string& key) const;

  const std::string& origin() const { return origin_; }

 private:
  friend class GgufParser;
  const GgufValue* find(const std::string& key) const;
  [[noreturn]] void raise_type(const std::string& key, const char* expected,
                               const GgufValue& found) const;
  [[noreturn]] void raise_missing(const std::string& key) const;
  const GgufValue* find_array(const std::string& key, const char* expected) const;

  std::string origin_;
  std::map<std::string, GgufValue> values_;
};

struct GgufContents {
  GgufMetadata metadata;
  std::map<std::string, TensorEntry> tensors;  // shapes in PyTorch's order, the row last
};

// Checks a whole file in memory and returns what is in it; `origin` is what error messages call it.
// Nothing is allocated beyond what the file has bytes for. Error kCorrupt, or kUnsupported for
// versions but 2 and 3, big-endian files, element types that are not known and arrays of arrays.
GgufContents parse_gguf(std::span<const std::byte> file, const std::string& origin);

class GgufFile : public TensorFiles {
 public:
  // Error kUnsupported also for one part of several.
  static GgufFile open(const std::filesystem::path& path);
  // Whether a name ends as those of GGUF files do.
  static bool is_named(const std::filesystem::path& path);

  const GgufMetadata& metadata() const { return metadata_; }
  DType dtype(const std::string& name) const override;
  Tensor tensor(const std::string& name) const override;

 private:
  GgufMetadata metadata_;
};

}  // namespace aquatint
