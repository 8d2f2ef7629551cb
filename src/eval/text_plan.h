// What an evaluation of a text will run: the token sequences, the windows over them and what is
// scored, settled before any model runs, so that several models can be put through exactly the
// same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/protocol.h"
#include "eval/windows.h"
#include "formats/text_data.h"
#include "text/tokenizer.h"

namespace aquatint {

// Of an architecture: the length it was trained for, and where its positions end (0: nowhere).
struct LengthLimits {
  std::int64_t context_length = 2048;
  std::int64_t max_positions = 0;
};

struct TextPlan {
  struct Item {
    std::size_t sequence;
    Window window;
  };

  std::string name;           // of the text
  PerplexityOptions options;  // with the window that will be used
  std::int64_t documents = 0, words = 0, bytes = 0;
  // Whether all tokens of all these documents are scored, so that perplexities per word and byte
  // exist.
  bool whole = false;
  std::vector<std::vector<TokenId>> sequences;
  std::vector<Item> windows;
  TokenId special = 0;  // where a window's start needs one

  std::int64_t tokens() const;  // of all sequences
  std::int64_t scored() const;  // of all windows
  std::int64_t rows() const;    // tokens fed in all windows
};

// Tokenizes and plans. lm-eval keeps documents apart, its prefix is the beginning-of-text token, or
// the end- of-text token without one; gptq joins documents with "\n\n", llama.cpp with nothing.
// Error kInvalidArgument when nothing would be scored or the window is beyond the model's
// positions; kUnsupported when the tokenizer lacks a token that is needed.
TextPlan plan_text(const TextData& data, const Tokenizer& tokenizer, const LengthLimits& limits,
                   const PerplexityOptions& options);

}  // namespace aquatint
