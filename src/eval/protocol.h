// The three published ways to measure the perplexity of a text, and the choices that go with them.
// Numbers of different protocols, windows or policies about the beginning-of-text token are not
// comparable, so every result carries all of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/bos_policy.h"

namespace aquatint {

enum class Protocol {
  kLmEval,  // lm-evaluation-harness: rolling windows per document, every token scored
  kGptq,  // GPTQ, AWQ and Quamba: the joined text in whole windows, all but each first token scored
  kLlamaCpp,  // llama.cpp: whole windows, only the second half of each scored
};

// "lm-eval", "gptq", "llama.cpp".
const char* protocol_name(Protocol protocol);
std::optional<Protocol> protocol_from_name(std::string_view name);
std::vector<std::string> protocol_names();

struct PerplexityOptions {
  Protocol protocol = Protocol::kLmEval;
  std::int64_t window = 0;  // tokens; 0: default_window
  BosPolicy bos = BosPolicy::kTokenizer;
  std::int64_t max_documents = 0;  // only the first ones; 0: all
  std::int64_t max_tokens = 0;     // only the first tokens of the text; 0: all
  std::int64_t batch = 0;          // windows run together; 0: chosen from the model's state size
};

// Window of a protocol: the context length for lm-eval, 2048 or a shorter context for gptq, 512 for
// llama.cpp.
std::int64_t default_window(Protocol protocol, std::int64_t context_length);

}  // namespace aquatint
