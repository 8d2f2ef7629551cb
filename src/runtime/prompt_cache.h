// A file that holds what a model remembers after some tokens, so that a later run whose prompt
// begins with these tokens does not compute them again: recurrent matrices, convolution windows and
// key-value caches, with the tokens they stand for. A safetensors file: "tokens" int32 [n], and the
// tensors of SequenceState under their names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/model.h"

namespace aquatint {

struct CachedPrompt {
  std::vector<std::int32_t> tokens;
  SequenceState state;  // after all of these tokens
};

// Writes `state`, which is that after exactly `tokens`. The file appears complete or not at all.
// `model_id` is any text that differs between models whose states must not be mixed up
// (Checkpoint::fingerprint). Error kIo.
void save_prompt_cache(const std::filesystem::path& path, const std::string& model_id,
                       std::span<const std::int32_t> tokens, const SequenceState& state);

// What the file holds, in the memory of the model's device; empty when there is no such file. Error
// kCorrupt for a file that is no prompt cache, is another model's, or does not fit this one.
std::optional<CachedPrompt> load_prompt_cache(const std::filesystem::path& path,
                                              const std::string& model_id, const Model& model);

}  // namespace aquatint
