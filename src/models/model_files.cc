#include "models/model_files.h"

#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/safetensors.h"

namespace aquatint {

ModelFiles ModelFiles::open(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    raise(ErrorKind::kNotFound, "'{}': not a model folder", path.string());
  }
  const std::filesystem::path config = path / "config.json";
  std::string text = read_text_file(config, Config::kMaxBytes);
  Config parsed = Config::parse(text, config.string());
  return {path, std::move(text), std::move(parsed),
          std::make_shared<SafetensorsSet>(SafetensorsSet::open_folder(path))};
}

}  // namespace aquatint
