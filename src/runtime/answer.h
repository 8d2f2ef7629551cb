// What is generated after one prompt, a token at a time: when it ends, and which of its text is
// certain enough to be shown. Several of them may grow side by side.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace aquatint {

enum class StopReason { kMaxTokens, kEndOfText, kStopString, kPositions };

const char* stop_reason_name(StopReason reason);

struct StopOptions {
  std::int64_t max_tokens = 256;
  std::vector<std::string> stop;         // text that ends the answer; not part of it
  std::vector<std::int32_t> end_tokens;  // beside the tokenizer's end-of-text token
  bool ignore_eos = false;               // goes on after all of these tokens
};

class Answer {
 public:
  // `options` and `tokenizer` must outlive this object.
  Answer(const Tokenizer& tokenizer, const StopOptions& options,
         std::span<const std::int32_t> prompt);
  ~Answer();
  Answer(Answer&&) noexcept;

  // Takes the next token and returns the text that became certain. REQUIRES: not done().
  std::string push(std::int32_t token);
  // Ends the answer because the model has no position left; returns the text held back.
  std::string end_at_positions();
  bool done() const { return done_; }
  StopReason reason() const { return reason_; }
  const std::vector<std::int32_t>& tokens() const { return tokens_; }
  const std::string& text() const { return text_; }

 private:
  struct Parts;
  bool ends(std::int32_t token) const;
  std::string finish(StopReason reason);

  const Tokenizer* tokenizer_;
  const StopOptions* options_;
  std::unique_ptr<Parts> parts_;
  std::vector<std::int32_t> tokens_;
  std::string text_;
  StopReason reason_ = StopReason::kMaxTokens;
  bool done_ = false;
};

}  // namespace aquatint
