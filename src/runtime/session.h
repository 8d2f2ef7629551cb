// What a model remembers of a text that grows and is asked about again: a conversation, or prompts
// that begin alike. Recurrent states cannot go back, so besides the state after everything that was
// run, that before the end of the latest prompt is kept, and a prompt that goes on from either
// costs only its rest.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/model.h"
#include "runtime/prompt_cache.h"

namespace aquatint {

class Session {
 public:
  // With `remembers`, prompts are run in two parts so that the state before their last token can be
  // kept; it takes the memory of one more state. The model must outlive this object.
  Session(Model& model, bool remembers);
  // One that begins with what a prompt cache held.
  Session(Model& model, CachedPrompt cached);

  // Runs `prompt` except for its last token, from the longest remembered beginning, and returns
  // how many of its tokens were remembered. REQUIRES: a prompt that is not empty.
  std::size_t begin(std::span<const std::int32_t> prompt);
  // Runs the tokens and returns the one that follows.
  std::int32_t next(std::span<const std::int32_t> tokens, const TokenChoice& choice,
                    std::int64_t allowed);

  const Model& model() const { return *model_; }
  const std::vector<std::int32_t>& tokens() const { return tokens_; }  // run so far
  std::int64_t length() const { return state_.length(); }
  // The latest prompt without its last token; empty before there is one of two tokens or more.
  const std::optional<CachedPrompt>& remembered() const { return remembered_; }

 private:
  Model* model_;
  bool remembers_;
  SequenceState state_;
  std::vector<std::int32_t> tokens_;
  std::optional<CachedPrompt> remembered_;
};

}  // namespace aquatint
