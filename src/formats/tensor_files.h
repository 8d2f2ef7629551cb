// The tensors of a checkpoint by name, whatever container its files are in: safetensors, PyTorch
// or GGUF. What lies above asks a TensorFiles and never which container it is. Files are mapped; a
// tensor is a view of the mapping where the file holds plain numbers in row-major order, else it is
// made when it is asked for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/tensor.h"

namespace aquatint {

// Where a tensor lies in its file.
struct TensorEntry {
  std::string dtype_name;             // "BF16" or "Q4_K", whatever container it is
  std::vector<std::int64_t> shape;    // as in the file, any rank
  std::size_t offset = 0;             // of its first byte, absolute
  std::size_t nbytes = 0;             // from its first byte to its last
  std::size_t file = 0;               // index into TensorFiles::files()
  std::vector<std::int64_t> strides;  // in elements; empty where elements are in row-major order
};

class TensorFiles {
 public:
  virtual ~TensorFiles() = default;

  bool contains(const std::string& name) const { return entries_.count(name) > 0; }
  const std::map<std::string, TensorEntry>& entries() const { return entries_; }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const { return files_; }
  // Bytes of all tensors in the files; those that several names share count once.
  std::int64_t total_bytes() const;
  // Lets the kernel take back the pages of a tensor; nothing if there is none of that name.
  void release(const std::string& name) const;

  // The element type that tensor() gives, which may be wider than what the file holds. Error
  // kNotFound for a missing name; kUnsupported for an element type that cannot be computed with.
  virtual DType dtype(const std::string& name) const = 0;
  // A view of the mapped file, or a new tensor. Errors as dtype(), and kUnsupported for a rank
  // beyond Shape::kMaxRank.
  virtual Tensor tensor(const std::string& name) const = 0;

 protected:
  TensorFiles() = default;
  TensorFiles(const TensorFiles&) = default;
  TensorFiles(TensorFiles&&) = default;
  TensorFiles& operator=(const TensorFiles&) = default;
  TensorFiles& operator=(TensorFiles&&) = default;

  // Maps a file and takes the tensors that `read` finds in it.
  using ReadFile = std::function<std::map<std::string, TensorEntry>(const MappedFile& file)>;
  void add_file(const std::filesystem::path& path, const ReadFile& read);
  // The same for each file of an index (`*.index.json`), whose weight_map says which file each
  // tensor is in; tensors that it does not name stay out. Error kCorrupt for a file name that is
  // not one of the folder and for a tensor that is not where the index says; kNotFound names the
  // files that are missing.
  void add_index(const std::filesystem::path& index, const ReadFile& read);

  // Error kNotFound.
  const TensorEntry& entry(const std::string& name) const;
  // Error kUnsupported beyond Shape::kMaxRank dimensions, naming the tensor.
  Shape shape_of(const std::string& name) const;
  // The name of the file that a tensor is in, for messages.
  std::string origin(const TensorEntry& entry) const;
  // The tensor as it lies in the file. REQUIRES: in row-major order.
  Tensor view(const std::string& name, DType dtype) const;
  [[noreturn]] void raise_dtype(const std::string& name) const;

  std::map<std::string, TensorEntry> entries_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
};

// The element type of a plain type's name in files: "F32", "F16", "BF16", "I8", "U8", "I32", "I64";
// empty for any other.
std::optional<DType> plain_dtype(std::string_view name);

}  // namespace aquatint
