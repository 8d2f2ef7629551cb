#include "runtime/model_text.h"

#include "formats/gguf_tokenizer.h"
#include "models/model_files.h"

namespace aquatint {
namespace {

// The GGUF file whose tokenizer counts; empty where there are files of a tokenizer, or none.
std::optional<std::filesystem::path> gguf_with_tokenizer(const std::filesystem::path& model) {
  std::error_code ignored;
  if (std::filesystem::exists(model / "tokenizer.json", ignored)) return std::nullopt;
  return find_gguf(model);
}

TokenizerFiles read_tokenizer(const std::filesystem::path& gguf) {
  return gguf_tokenizer(GgufFile::open(gguf).metadata());
}

}  // namespace

Tokenizer open_tokenizer(const std::filesystem::path& model) {
  const auto gguf = gguf_with_tokenizer(model);
  if (!gguf) return Tokenizer::open(model);
  const TokenizerFiles files = read_tokenizer(*gguf);
  return Tokenizer::parse(files.tokenizer_json, files.tokenizer_config_json, gguf->string());
}

ChatTemplate open_chat_template(const std::filesystem::path& model) {
  const auto gguf = gguf_with_tokenizer(model);
  if (!gguf) return ChatTemplate::of_model(model);
  return ChatTemplate::of_config(read_tokenizer(*gguf).tokenizer_config_json, gguf->string());
}

}  // namespace aquatint
