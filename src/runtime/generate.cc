#include "runtime/generate.h"

#include <algorithm>
#include <chrono>

namespace aquatint {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

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

GenerateResult generate(Model& model, const Tokenizer& tokenizer, std::string_view prompt,
                        const GenerateOptions& options,
                        const std::function<void(std::string_view)>& on_text) {
  GenerateResult result;
  Sampler sampler(options.sampler);
  result.prompt_tokens = tokenizer.encode(prompt, options.add_special_tokens);
  if (result.prompt_tokens.empty() && tokenizer.bos_id()) {
    result.prompt_tokens.push_back(*tokenizer.bos_id());
  }
  if (result.prompt_tokens.empty()) {
    raise(ErrorKind::kInvalidArgument, "the prompt is empty");
  }
  std::vector<std::int32_t> history = result.prompt_tokens;
  SequenceState state = model.new_state();
  ContinuationDecoder decoder(tokenizer, result.prompt_tokens);
  StopFilter filter(options.stop);
  const auto show = [&](const std::string& text) {
    if (text.empty()) return;
    result.text += text;
    on_text(text);
  };

  const auto next = [&](std::span<const std::int32_t> tokens) {
    const ModelInput input{tokens, &state};
    const TokenChoice choice = sampler.next(history);
    return model.next_tokens({&input, 1}, {&choice, 1}, tokenizer.vocab_size()).front();
  };

  auto start = Clock::now();
  std::int32_t token = next(history);
  result.prompt_seconds = seconds_since(start);
  start = Clock::now();
  const std::int64_t positions = model.architecture().max_positions();
  while (static_cast<std::int64_t>(result.tokens.size()) < options.max_tokens) {
    if (!options.ignore_eos && tokenizer.eos_id() && token == *tokenizer.eos_id()) {
      result.stop_reason = StopReason::kEndOfText;
      break;
    }
    result.tokens.push_back(token);
    history.push_back(token);
    show(filter.push(decoder.push(token)));
    if (filter.stopped()) {
      result.stop_reason = StopReason::kStopString;
      break;
    }
    if (static_cast<std::int64_t>(result.tokens.size()) == options.max_tokens) break;
    if (positions > 0 && state.length() >= positions) {
      result.stop_reason = StopReason::kPositions;
      break;
    }
    token = next({&token, 1});
  }
  result.decode_seconds = seconds_since(start);
  if (!filter.stopped()) {
    show(filter.push(decoder.finish()));
    if (!filter.stopped()) show(filter.finish());
  }
  return result;
}

}  // namespace aquatint
