// The options of an evaluation that eval, compare and sensitivity share.
#pragma once

#include <string>

#include "eval/protocol.h"
#include "formats/text_data.h"

namespace CLI {
class App;
}

namespace aquatint::cli {

struct EvalOptions {
  std::string protocol = "gptq", bos = "tokenizer";
  PerplexityOptions perplexity;
  void declare(CLI::App& verb);
  // All but --batch: which text is measured, and how.
  void declare_text(CLI::App& verb);
  PerplexityOptions resolve() const;
};

// The documents of a --text file. Error kCorrupt when it is empty or not UTF-8.
TextData read_text(const std::string& path);

}  // namespace aquatint::cli
