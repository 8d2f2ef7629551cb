#include "eval/windows.h"

#include <algorithm>

#include "base/error.h"

namespace aquatint {
namespace {

void check_window(const char* protocol, std::int64_t window, std::int64_t least) {
  if (window < least) {
    raise(ErrorKind::kInvalidArgument, "a window of {} tokens: protocol {} needs at least {}",
          window, protocol, least);
  }
}

}  // namespace

std::vector<Window> plan_lm_eval(std::int64_t tokens, std::int64_t window) {
  check_window("lm-eval", window, 1);
  std::vector<Window> windows;
  for (std::int64_t done = 0; done < tokens;) {
    const std::int64_t end = done + std::min(window, tokens - done);
    if (done == 0) {
      windows.push_back({WindowStart::kPrefixed, 0, 0, end});
    } else {
      windows.push_back({WindowStart::kAsIs, end - window - 1, done, end});
    }
    done = end;
  }
  return windows;
}

std::vector<Window> plan_gptq(std::int64_t tokens, std::int64_t window) {
  check_window("gptq", window, 2);
  std::vector<Window> windows;
  for (std::int64_t begin = 0; begin + window <= tokens; begin += window) {
    windows.push_back({WindowStart::kAsIs, begin, begin + 1, begin + window});
  }
  return windows;
}

std::vector<Window> plan_llama_cpp(std::int64_t tokens, std::int64_t window, bool force_bos) {
  check_window("llama.cpp", window, 3);
  const WindowStart start = force_bos ? WindowStart::kReplaced : WindowStart::kAsIs;
  std::vector<Window> windows;
  for (std::int64_t begin = 0; begin + window <= tokens; begin += window) {
    windows.push_back({start, begin, begin + window / 2 + 1, begin + window});
  }
  return windows;
}

std::vector<std::int32_t> window_input(const Window& window, std::span<const std::int32_t> text,
                                       std::int32_t special) {
  std::vector<std::int32_t> input;
  input.reserve(static_cast<std::size_t>(window.length()));
  if (window.start == WindowStart::kPrefixed) input.push_back(special);
  const auto begin = static_cast<std::size_t>(window.begin);
  const auto count = static_cast<std::size_t>(window.score_end - 1 - window.begin);
  const std::span<const std::int32_t> tokens = text.subspan(begin, count);
  input.insert(input.end(), tokens.begin(), tokens.end());
  if (window.start == WindowStart::kReplaced) input.front() = special;
  return input;
}

}  // namespace aquatint
