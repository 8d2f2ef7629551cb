// The tokenizer and the chat template of a model, wherever they are: in files of a model folder, or
// in the GGUF file that holds the weights.
#pragma once

#include <filesystem>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace aquatint {

// That of what ModelFiles::open takes. A tokenizer.json in a folder goes before that of a GGUF
// file. Errors as Tokenizer::open and gguf_tokenizer.
Tokenizer open_tokenizer(const std::filesystem::path& model);

// The same for the chat template. Errors as ChatTemplate::of_model.
ChatTemplate open_chat_template(const std::filesystem::path& model);

}  // namespace aquatint
