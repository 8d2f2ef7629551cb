// Reading and writing safetensors files and sharded sets of them (specification: docs/formats/).
// Reading maps the files; tensors are views of the mapping and may be unaligned. Every rule of the
// format is enforced: no holes, no overlaps, no trailing bytes, sizes that agree with shapes, no
// duplicate names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "formats/tensor_files.h"

namespace aquatint {

// What the header of one file says, after every rule of the format has been checked.
struct SafetensorsHeader {
  std::map<std::string, TensorEntry> entries;  // TensorEntry::file is 0
  std::map<std::string, std::string> metadata;
};

// Checks a whole file in memory and returns its header; `origin` is what error messages call the
// file. Error kCorrupt, or kUnsupported for an element type this program has never heard of.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file,
                                           const std::string& origin);

class SafetensorsSet : public TensorFiles {
 public:
  // One file.
  static SafetensorsSet open_file(const std::filesystem::path& path);
  // A model folder: model.safetensors, else model.safetensors.index.json and its shards. Error
  // kNotFound names what was looked for.
  static SafetensorsSet open_folder(const std::filesystem::path& folder);
  // Whether a folder has one of the two.
  static bool is_in(const std::filesystem::path& folder);

  DType dtype(const std::string& name) const override;
  // Always a view of the mapped file.
  Tensor tensor(const std::string& name) const override;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  static constexpr const char* kFile = "model.safetensors";
  static constexpr const char* kIndex = "model.safetensors.index.json";
  static SafetensorsSet open_index(const std::filesystem::path& index);
  std::map<std::string, TensorEntry> read(const MappedFile& file);
  std::map<std::string, std::string> metadata_;
};

// What a file will hold, known before its bytes are.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
};

// Writes one safetensors file as a stream: the header first, from the list of tensors, then the
// bytes of each tensor in any order (positioned writes). The file appears under a temporary name;
// finish() checks that every tensor was written, flushes it to disk and renames it. Destroyed
// before that, nothing is left. A write that fails (full disk, read-only folder) is error kIo with
// the path and the reason.
class SafetensorsWriter {
 public:
  // Data is laid out by descending element size, then name; the header is padded to 8 bytes.
  // With `resumable`, a temporary file of an interrupted run with the same tensors is continued
  // (say which tensors it holds with mark_written), and one left by this object stays for the next.
  SafetensorsWriter(std::filesystem::path path, std::vector<TensorInfo> tensors,
                    std::map<std::string, std::string> metadata = {{"format", "pt"}},
                    bool resumable = false);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;
  // REQUIRES a name of the list, and matching type and shape (assertion otherwise).
  void write(const std::string& name, const Tensor& tensor);
  // Notes that the tensor's bytes are in the file already.
  void mark_written(const std::string& name);
  // Flushes what was written so far to disk.
  void flush();
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Convenience for small sets: one file with all tensors.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors);

}  // namespace aquatint
