// The tokenizer in a GGUF file's metadata, as the files tokenizer.json and tokenizer_config.json
// that Hugging Face would have for it. llama.cpp stores vocabulary, kinds of tokens, and merges or
// scores; how text is cut into words it knows by a name (tokenizer.ggml.pre). Which name means
// what: docs/formats/gguf.md.
#pragma once

#include <optional>
#include <string>

#include "formats/gguf_file.h"

namespace aquatint {

struct TokenizerFiles {
  std::string tokenizer_json;
  std::string tokenizer_config_json;  // chat template included
};

// Byte-pair encoding over bytes ("gpt2") and over characters with scores ("llama", SentencePiece).
// Error kCorrupt, or kUnsupported naming the model or the way of cutting words that is not known.
TokenizerFiles gguf_tokenizer(const GgufMetadata& metadata);

}  // namespace aquatint
