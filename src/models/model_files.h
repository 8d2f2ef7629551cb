// The files of a model: which container holds its weights, and where its configuration comes from.
// This is the only place that knows the containers; above it there are a Config and TensorFiles.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "formats/config.h"
#include "formats/tensor_files.h"

namespace aquatint {

struct ModelFiles {
  std::filesystem::path path;  // as the user named it
  std::string config_text;     // a JSON object
  Config config;               // the same, parsed
  std::shared_ptr<const TensorFiles> tensors;

  // Opens a model folder: config.json and weights, which are model.safetensors, its shards, or
  // PyTorch files (formats/torch_files.h). Error kNotFound names what was looked for.
  static ModelFiles open(const std::filesystem::path& path);
};

}  // namespace aquatint
