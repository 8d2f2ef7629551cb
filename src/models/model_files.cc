#include "models/model_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json_text.h"
#include "formats/safetensors.h"
#include "formats/torch_files.h"
#include "models/gguf_model.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> gguf_files(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (GgufFile::is_named(entry.path())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

ModelFiles open_gguf(const fs::path& path, const fs::path& file) {
  auto gguf = std::make_shared<const GgufFile>(GgufFile::open(file));
  std::string text = json_text(gguf_config(*gguf));
  Config config = Config::parse(text, file.string());
  auto tensors = std::make_shared<GgufTensors>(gguf);
  return {path, std::move(text), std::move(config), std::move(tensors), std::move(gguf)};
}

// Weights of a folder in the order in which Hugging Face looks for them.
std::shared_ptr<const TensorFiles> open_weights(const fs::path& folder) {
  if (SafetensorsSet::is_in(folder)) {
    return std::make_shared<SafetensorsSet>(SafetensorsSet::open_folder(folder));
  }
  if (TorchFiles::is_in(folder)) {
    return std::make_shared<TorchFiles>(TorchFiles::open_folder(folder));
  }
  raise(ErrorKind::kNotFound,
        "'{}': no weights: neither model.safetensors nor pytorch_model.bin, nor an index of their "
        "parts, nor a file *.gguf is there",
        folder.string());
}

void require_folder(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return;
  const std::string extension = path.extension().string();
  const bool weights = extension == ".safetensors" || extension == ".bin" || extension == ".pt" ||
                       extension == ".pth";
  if (weights && fs::is_regular_file(path, error)) {
    raise(ErrorKind::kInvalidArgument,
          "'{}': has weights alone; name the folder that it is in, with its config.json",
          path.string());
  }
  raise(ErrorKind::kNotFound, "'{}': not a model folder and not a GGUF file", path.string());
}

}  // namespace

std::optional<fs::path> find_gguf(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error) && GgufFile::is_named(path)) return path;
  if (!fs::is_directory(path, error) || SafetensorsSet::is_in(path) || TorchFiles::is_in(path)) {
    return std::nullopt;
  }
  const std::vector<fs::path> files = gguf_files(path);
  if (files.empty()) return std::nullopt;
  if (files.size() > 1) {
    raise(ErrorKind::kUnsupported, "'{}': has {} GGUF files ('{}', '{}', …); name one of them",
          path.string(), files.size(), files[0].filename().string(), files[1].filename().string());
  }
  return files[0];
}

ModelFiles ModelFiles::open(const fs::path& path) {
  if (const auto file = find_gguf(path)) return open_gguf(path, *file);
  require_folder(path);
  const fs::path config = path / "config.json";
  std::string text = read_text_file(config, Config::kMaxBytes);
  Config parsed = Config::parse(text, config.string());
  return {path, std::move(text), std::move(parsed), open_weights(path), nullptr};
}

std::optional<TokenizerFiles> ModelFiles::tokenizer() const {
  if (gguf == nullptr) return std::nullopt;
  return gguf_tokenizer(gguf->metadata());
}

}  // namespace aquatint
