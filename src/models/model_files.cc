#include "models/model_files.h"

#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/safetensors.h"
#include "formats/torch_files.h"

namespace aquatint {
namespace {

// Weights of a folder in the order in which Hugging Face looks for them.
std::shared_ptr<const TensorFiles> open_weights(const std::filesystem::path& folder) {
  if (SafetensorsSet::is_in(folder)) {
    return std::make_shared<SafetensorsSet>(SafetensorsSet::open_folder(folder));
  }
  if (TorchFiles::is_in(folder)) {
    return std::make_shared<TorchFiles>(TorchFiles::open_folder(folder));
  }
  raise(ErrorKind::kNotFound,
        "'{}': no weights: neither model.safetensors nor pytorch_model.bin nor an index of their "
        "parts is there",
        folder.string());
}

}  // namespace

ModelFiles ModelFiles::open(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    raise(ErrorKind::kNotFound, "'{}': not a model folder", path.string());
  }
  const std::filesystem::path config = path / "config.json";
  std::string text = read_text_file(config, Config::kMaxBytes);
  Config parsed = Config::parse(text, config.string());
  return {path, std::move(text), std::move(parsed), open_weights(path)};
}

}  // namespace aquatint
