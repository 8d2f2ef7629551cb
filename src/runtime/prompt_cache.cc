#include "runtime/prompt_cache.h"

#include <cstring>

#include "base/error.h"
#include "formats/safetensors.h"

namespace aquatint {
namespace {

constexpr const char* kFormat = "aquatint-prompt-cache-1";
constexpr const char* kTokens = "tokens";

std::string metadata_value(const SafetensorsSet& file, const char* key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? std::string() : found->second;
}

std::vector<std::int32_t> read_tokens(const SafetensorsSet& file, const std::string& path,
                                      std::int64_t vocab_size) {
  const Tensor stored = file.contains(kTokens) ? file.tensor(kTokens) : Tensor();
  if (!stored.defined() || stored.dtype() != DType::kI32 || stored.shape().rank() != 1 ||
      stored.dim(0) == 0) {
    raise(ErrorKind::kCorrupt, "'{}': the tokens of the prompt are missing", path);
  }
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(stored.dim(0)));
  std::memcpy(tokens.data(), stored.bytes(), stored.nbytes());
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= vocab_size) {
      raise(ErrorKind::kCorrupt, "'{}': token {} is outside the vocabulary of {}", path, token,
            vocab_size);
    }
  }
  return tokens;
}

}  // namespace

void save_prompt_cache(const std::filesystem::path& path, const std::string& model_id,
                       std::span<const std::int32_t> tokens, const SequenceState& state) {
  AQUATINT_ASSERT(state.length() == static_cast<std::int64_t>(tokens.size()) && !tokens.empty());
  const Tensor ids = Tensor::empty({static_cast<std::int64_t>(tokens.size())}, DType::kI32);
  std::memcpy(ids.mutable_bytes(), tokens.data(), tokens.size_bytes());
  std::vector<std::pair<std::string, Tensor>> all = {{kTokens, ids}};
  for (const auto& [name, tensor] : state.tensors()) {
    all.emplace_back(name, tensor.on(Stream::cpu()));
  }
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : all) infos.push_back({name, tensor.dtype(), tensor.shape()});
  SafetensorsWriter writer(path, infos, {{"format", kFormat}, {"model", model_id}});
  for (const auto& [name, tensor] : all) writer.write(name, tensor);
  writer.finish();
}

std::optional<CachedPrompt> load_prompt_cache(const std::filesystem::path& path,
                                              const std::string& model_id, const Model& model) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const SafetensorsSet file = SafetensorsSet::open_file(path);
  if (metadata_value(file, "format") != kFormat) {
    raise(ErrorKind::kCorrupt, "'{}' is not a prompt cache of this version", path.string());
  }
  if (metadata_value(file, "model") != model_id) {
    raise(ErrorKind::kCorrupt, "'{}' is the prompt cache of another model or another --dtype",
          path.string());
  }
  CachedPrompt cached{read_tokens(file, path.string(), model.vocab_size()), model.new_state()};
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, tensor] : cached.state.tensors()) {
    if (!file.contains(name)) {
      raise(ErrorKind::kCorrupt, "'{}': the state '{}' is missing", path.string(), name);
    }
    tensors.emplace_back(name, file.tensor(name).clone());  // aligned
  }
  if (file.entries().size() != tensors.size() + 1) {
    raise(ErrorKind::kCorrupt, "'{}' holds {} states, the model has {}", path.string(),
          file.entries().size() - 1, tensors.size());
  }
  cached.state.assign(tensors, static_cast<std::int64_t>(cached.tokens.size()));
  return cached;
}

}  // namespace aquatint
