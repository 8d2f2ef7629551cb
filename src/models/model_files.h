// The files of a model: which container holds its weights, and where its configuration and
// tokenizer come from. This is the only place that knows the containers; above it there are a
// Config, TensorFiles and the text of a tokenizer.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "formats/config.h"
#include "formats/gguf_tokenizer.h"
#include "formats/tensor_files.h"

namespace aquatint {

struct ModelFiles {
  std::filesystem::path path;  // as the user named it
  std::string config_text;     // a JSON object
  Config config;               // the same, parsed
  std::shared_ptr<const TensorFiles> tensors;
  std::shared_ptr<const GgufFile> gguf;  // null for other containers

  // Opens a model folder: config.json and weights, which are model.safetensors, its shards, or
  // PyTorch files (formats/torch_files.h). Or a GGUF file, or a folder in which there is one and no
  // other weights. Error kNotFound names what was looked for; kUnsupported for a folder with
  // several GGUF files, or when a file is named of which only the folder makes a model.
  static ModelFiles open(const std::filesystem::path& path);

  // The tokenizer that the weights' file itself holds; empty where it is in files of its own.
  std::optional<TokenizerFiles> tokenizer() const;
};

// The GGUF file that open() takes for a path; empty when it takes other files, or none.
std::optional<std::filesystem::path> find_gguf(const std::filesystem::path& path);

}  // namespace aquatint
