// The options of an evaluation that eval and compare share.
#pragma once

#include <string>

#include "eval/protocol.h"

namespace CLI {
class App;
}

namespace aquatint::cli {

struct EvalOptions {
  std::string protocol = "gptq", bos = "tokenizer";
  PerplexityOptions perplexity;
  void declare(CLI::App& verb);
  PerplexityOptions resolve() const;
};

}  // namespace aquatint::cli
