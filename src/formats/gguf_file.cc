#include "formats/gguf_file.h"

#include "base/error.h"
#include "base/printable.h"
#include "base/threads.h"
#include "formats/ggml_blocks.h"

namespace aquatint {

GgufFile GgufFile::open(const std::filesystem::path& path) {
  GgufFile opened;
  opened.add_file(path, [&](const MappedFile& file) {
    GgufContents contents = parse_gguf(file.bytes(), file.path().string());
    opened.metadata_ = std::move(contents.metadata);
    return std::move(contents.tensors);
  });
  const std::int64_t parts = opened.metadata_.find_int("split.count").value_or(1);
  if (parts > 1) {
    raise(ErrorKind::kUnsupported,
          "'{}': is one of {} parts of a model; join them first (llama-gguf-split --merge)",
          path.string(), parts);
  }
  return opened;
}

bool GgufFile::is_named(const std::filesystem::path& path) {
  return path.extension() == ".gguf";
}

DType GgufFile::dtype(const std::string& name) const {
  const std::string& stored = entry(name).dtype_name;
  if (const auto dtype = plain_dtype(stored)) return *dtype;
  if (find_ggml_type(stored.c_str())->expand == nullptr) raise_dtype(name);
  return DType::kF32;
}

Tensor GgufFile::tensor(const std::string& name) const {
  const TensorEntry& stored = entry(name);
  const DType type = dtype(name);
  const GgmlType& packed = *find_ggml_type(stored.dtype_name.c_str());
  if (packed.expand == nullptr) return view(name, type);
  const Tensor out = Tensor::empty(shape_of(name), type);
  const std::byte* blocks = files()[stored.file]->bytes().data() + stored.offset;
  auto* values = out.mutable_data<float>();
  constexpr std::int64_t kBlocksAtOnce = 256;
  parallel_for(
      out.numel() / packed.values, kBlocksAtOnce, [&](std::int64_t begin, std::int64_t end) {
        packed.expand(blocks + begin * packed.bytes, end - begin, values + begin * packed.values);
      });
  return out;
}

}  // namespace aquatint
