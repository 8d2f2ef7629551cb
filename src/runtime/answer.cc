#include "runtime/answer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace aquatint {
namespace {

// Passes text on, but holds back what may be the beginning of a stop string.
class StopFilter {
 public:
  explicit StopFilter(const std::vector<std::string>& stops) : stops_(stops) {}

  // Returns the text that may be shown; sets stopped() when a stop string is complete.
  std::string push(std::string_view text) {
    held_ += text;
    std::size_t first = std::string::npos;
    for (const std::string& stop : stops_) {
      if (!stop.empty()) first = std::min(first, held_.find(stop));
    }
    if (first != std::string::npos) {
      stopped_ = true;
      held_.resize(first);
      return std::exchange(held_, {});
    }
    const std::size_t keep = longest_held_suffix();
    std::string shown = held_.substr(0, held_.size() - keep);
    held_.erase(0, held_.size() - keep);
    return shown;
  }
  std::string finish() { return std::exchange(held_, {}); }
  bool stopped() const { return stopped_; }

 private:
  // Length of the longest end of held_ that begins a stop string.
  std::size_t longest_held_suffix() const {
    std::size_t longest = 0;
    for (const std::string& stop : stops_) {
      for (std::size_t n = std::min(held_.size(), stop.size()); n > longest; --n) {
        if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) {
          longest = n;
          break;
        }
      }
    }
    return longest;
  }

  const std::vector<std::string>& stops_;
  std::string held_;
  bool stopped_ = false;
};

// Decodes what follows a prompt. The prompt is decoded first, so that the blank between it and the
// first new word is not dropped like one at the beginning of a text; what it decodes to is not
// given out again.
class ContinuationDecoder {
 public:
  ContinuationDecoder(const Tokenizer& tokenizer, std::span<const std::int32_t> prompt)
      : decoder_(tokenizer, kSkipSpecial), held_(tokenizer.decode(prompt, kSkipSpecial).size()) {
    for (const std::int32_t token : prompt) push(token);
  }
  std::string push(std::int32_t token) { return without_prompt(decoder_.push(token)); }
  std::string finish() { return without_prompt(decoder_.finish()); }

 private:
  static constexpr bool kSkipSpecial = true;
  std::string without_prompt(std::string text) {
    const std::size_t n = std::min(held_, text.size());
    held_ -= n;
    return text.erase(0, n);
  }
  StreamDecoder decoder_;
  std::size_t held_;  // bytes of the prompt that the decoder has not given out yet
};

}  // namespace

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kMaxTokens:
      return "length";
    case StopReason::kEndOfText:
      return "end of text";
    case StopReason::kStopString:
      return "stop string";
    case StopReason::kPositions:
      return "model positions";
  }
  return "";
}

struct Answer::Parts {
  ContinuationDecoder decoder;
  StopFilter filter;
};

Answer::Answer(const Tokenizer& tokenizer, const StopOptions& options,
               std::span<const std::int32_t> prompt)
    : tokenizer_(&tokenizer),
      options_(&options),
      parts_(new Parts{ContinuationDecoder(tokenizer, prompt), StopFilter(options.stop)}),
      done_(options.max_tokens == 0) {}

Answer::~Answer() = default;
Answer::Answer(Answer&&) noexcept = default;

bool Answer::ends(std::int32_t token) const {
  if (options_->ignore_eos) return false;
  const auto& ends = options_->end_tokens;
  return token == tokenizer_->eos_id() || std::find(ends.begin(), ends.end(), token) != ends.end();
}

std::string Answer::finish(StopReason reason) {
  done_ = true;
  reason_ = reason;
  std::string shown;
  if (!parts_->filter.stopped()) {
    shown = parts_->filter.push(parts_->decoder.finish());
    if (!parts_->filter.stopped()) shown += parts_->filter.finish();
  }
  text_ += shown;
  return shown;
}

std::string Answer::push(std::int32_t token) {
  AQUATINT_ASSERT(!done_);
  if (ends(token)) return finish(StopReason::kEndOfText);
  tokens_.push_back(token);
  std::string shown = parts_->filter.push(parts_->decoder.push(token));
  text_ += shown;
  if (parts_->filter.stopped()) return shown + finish(StopReason::kStopString);
  if (static_cast<std::int64_t>(tokens_.size()) < options_->max_tokens) return shown;
  return shown + finish(StopReason::kMaxTokens);
}

std::string Answer::end_at_positions() {
  return finish(StopReason::kPositions);
}

}  // namespace aquatint
