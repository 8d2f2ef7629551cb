#include "base/error.h"
#include "formats/safetensors.h"

namespace aquatint {

std::map<std::string, TensorEntry> SafetensorsSet::read(const MappedFile& file) {
  SafetensorsHeader header = parse_safetensors_header(file.bytes(), file.path().string());
  metadata_.merge(header.metadata);
  return std::move(header.entries);
}

SafetensorsSet SafetensorsSet::open_file(const std::filesystem::path& path) {
  SafetensorsSet set;
  set.add_file(path, [&](const MappedFile& file) { return set.read(file); });
  return set;
}

SafetensorsSet SafetensorsSet::open_index(const std::filesystem::path& index) {
  SafetensorsSet set;
  set.add_index(index, [&](const MappedFile& file) { return set.read(file); });
  return set;
}

bool SafetensorsSet::is_in(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / kFile, ignored) ||
         std::filesystem::exists(folder / kIndex, ignored);
}

SafetensorsSet SafetensorsSet::open_folder(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder, ignored)) {
    raise(ErrorKind::kNotFound, "'{}': no such folder", folder.string());
  }
  if (!std::filesystem::is_directory(folder, ignored)) {
    raise(ErrorKind::kInvalidArgument, "'{}': not a folder", folder.string());
  }
  if (std::filesystem::exists(folder / kFile, ignored)) return open_file(folder / kFile);
  if (std::filesystem::exists(folder / kIndex, ignored)) return open_index(folder / kIndex);
  raise(ErrorKind::kNotFound, "'{}': no weights: neither {} nor {} is there", folder.string(),
        kFile, kIndex);
}

DType SafetensorsSet::dtype(const std::string& name) const {
  const auto dtype = plain_dtype(entry(name).dtype_name);
  if (!dtype) raise_dtype(name);
  return *dtype;
}

Tensor SafetensorsSet::tensor(const std::string& name) const {
  return view(name, dtype(name));
}

}  // namespace aquatint
