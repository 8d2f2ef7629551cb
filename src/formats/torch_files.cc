#include "formats/torch_files.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "pytorch_model.bin";
constexpr const char* kIndex = "pytorch_model.bin.index.json";

std::map<std::string, TensorEntry> read(const MappedFile& file) {
  return parse_torch_file(file.bytes(), file.path().string());
}

// Files *.pt and *.pth of a folder. Of *.bin only the usual name counts: training_args.bin and the
// like stand beside it.
std::vector<fs::path> other_files(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".pt" || extension == ".pth") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Copies a tensor of any strides, one element of `size` bytes after the other.
void gather(const std::byte* from, const TensorEntry& entry, std::size_t dimension,
            std::size_t size, std::byte*& to) {
  if (dimension == entry.shape.size()) {
    std::memcpy(to, from, size);
    to += size;
    return;
  }
  const std::size_t step = static_cast<std::size_t>(entry.strides[dimension]) * size;
  for (std::int64_t i = 0; i < entry.shape[dimension]; ++i) {
    gather(from + static_cast<std::size_t>(i) * step, entry, dimension + 1, size, to);
  }
}

void narrow(const std::byte* doubles, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    double value;
    std::memcpy(&value, doubles + static_cast<std::size_t>(i) * sizeof(value), sizeof(value));
    out[i] = static_cast<float>(value);
  }
}

}  // namespace

TorchFiles TorchFiles::open_file(const fs::path& path) {
  TorchFiles files;
  files.add_file(path, read);
  return files;
}

bool TorchFiles::is_in(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kFile, ignored) || fs::exists(folder / kIndex, ignored) ||
         !other_files(folder).empty();
}

TorchFiles TorchFiles::open_folder(const fs::path& folder) {
  std::error_code ignored;
  if (fs::exists(folder / kFile, ignored)) return open_file(folder / kFile);
  if (fs::exists(folder / kIndex, ignored)) {
    TorchFiles files;
    files.add_index(folder / kIndex, read);
    return files;
  }
  const std::vector<fs::path> others = other_files(folder);
  if (others.empty()) {
    raise(ErrorKind::kNotFound, "'{}': no PyTorch weights: neither {} nor {} nor a file *.pt",
          folder.string(), kFile, kIndex);
  }
  if (others.size() > 1) {
    raise(ErrorKind::kUnsupported, "'{}': {} PyTorch files ('{}', '{}', …) and no {}",
          folder.string(), others.size(), others[0].filename().string(),
          others[1].filename().string(), kIndex);
  }
  return open_file(others[0]);
}

DType TorchFiles::dtype(const std::string& name) const {
  const std::string& stored = entry(name).dtype_name;
  if (stored == "F64") return DType::kF32;
  const auto dtype = plain_dtype(stored);
  if (!dtype) raise_dtype(name);
  return *dtype;
}

Tensor TorchFiles::tensor(const std::string& name) const {
  const TensorEntry& stored = entry(name);
  const DType type = dtype(name);
  const bool doubles = stored.dtype_name == "F64";
  if (stored.strides.empty() && !doubles) return view(name, type);
  const Shape shape = shape_of(name);
  const std::byte* elements = files()[stored.file]->bytes().data() + stored.offset;
  Tensor out = Tensor::empty(shape, type);
  if (stored.strides.empty()) {
    narrow(elements, shape.numel(), out.mutable_data<float>());
    return out;
  }
  const std::size_t size = doubles ? sizeof(double) : dtype_size(type);
  std::vector<std::byte> wide(doubles ? static_cast<std::size_t>(shape.numel()) * size : 0);
  std::byte* to = doubles ? wide.data() : out.mutable_bytes();
  gather(elements, stored, 0, size, to);
  if (doubles) narrow(wide.data(), shape.numel(), out.mutable_data<float>());
  return out;
}

}  // namespace aquatint
