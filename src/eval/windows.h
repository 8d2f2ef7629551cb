// How a text of n tokens is cut into windows, for each protocol, as pure functions of counts. A
// window is run from a fresh state; some of its tokens are scored, and those before them are
// context only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace aquatint {

enum class WindowStart {
  kAsIs,      // the text's own tokens
  kPrefixed,  // a special token, then the text's tokens
  kReplaced,  // the first token gives way to a special token
};

// Tokens [begin, score_end - 1) of the text are fed, behind the special token if there is one (the
// last scored token need not be); tokens [score_begin, score_end) are scored.
struct Window {
  WindowStart start = WindowStart::kAsIs;
  std::int64_t begin = 0;
  std::int64_t score_begin = 0;
  std::int64_t score_end = 0;

  std::int64_t scored() const { return score_end - score_begin; }
  // Rows of logits before the one that predicts the first scored token.
  std::int64_t lead() const {
    return score_begin - begin - (start == WindowStart::kPrefixed ? 0 : 1);
  }
  // Tokens fed: lead() + scored().
  std::int64_t length() const { return lead() + scored(); }
  bool operator==(const Window& other) const = default;
};

// Rolling windows of lm-evaluation-harness: every token is scored once. The first window predicts
// from the prefix token, whole ones from one token of context, and the last one slides back to fill
// up with context.
std::vector<Window> plan_lm_eval(std::int64_t tokens, std::int64_t window);

// Windows of GPTQ: non-overlapping, all tokens but each window's first scored; a remainder is left
// out.
std::vector<Window> plan_gptq(std::int64_t tokens, std::int64_t window);

// Windows of llama.cpp: non-overlapping, of which tokens window/2 + 1 and later are scored; a
// remainder is left out. With `force_bos` the first token of each window is fed as the
// beginning-of-text token.
std::vector<Window> plan_llama_cpp(std::int64_t tokens, std::int64_t window, bool force_bos);

// Tokens to feed for a window over `text`; `special` is used where the window's start says so.
std::vector<std::int32_t> window_input(const Window& window, std::span<const std::int32_t> text,
                                       std::int32_t special);

}  // namespace aquatint
