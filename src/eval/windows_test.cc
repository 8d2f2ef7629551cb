#include "eval/windows.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "base/error.h"
#include "eval/protocol.h"

namespace aquatint {
namespace {

// "P 0 1 | 2": fed before the first scored row's token, and from it on.
std::string describe(const Window& window, std::int64_t tokens) {
  std::vector<std::int32_t> text(static_cast<std::size_t>(tokens));
  std::iota(text.begin(), text.end(), 0);
  std::string out;
  for (const std::int32_t id : window_input(window, text, -1)) {
    out += (id < 0 ? std::string("P") : std::to_string(id)) + " ";
  }
  return out + "-> " + std::to_string(window.score_begin) + ".." +
         std::to_string(window.score_end - 1);
}

std::vector<std::string> describe(const std::vector<Window>& windows, std::int64_t tokens) {
  std::vector<std::string> out;
  for (const Window& window : windows) out.push_back(describe(window, tokens));
  return out;
}

using Lines = std::vector<std::string>;

TEST(Windows, LmEvalRollsAsTheHarnessDoes) {
  const auto plan = [](std::int64_t n) { return describe(plan_lm_eval(n, 4), n); };
  EXPECT_EQ(plan(0), Lines{});
  EXPECT_EQ(plan(1), Lines{"P -> 0..0"});
  EXPECT_EQ(plan(4), Lines{"P 0 1 2 -> 0..3"});
  EXPECT_EQ(plan(5), (Lines{"P 0 1 2 -> 0..3", "0 1 2 3 -> 4..4"}));
  EXPECT_EQ(plan(9), (Lines{"P 0 1 2 -> 0..3", "3 4 5 6 -> 4..7", "4 5 6 7 -> 8..8"}));
  EXPECT_EQ(plan(11), (Lines{"P 0 1 2 -> 0..3", "3 4 5 6 -> 4..7", "6 7 8 9 -> 8..10"}));
}

TEST(Windows, LmEvalScoresEveryTokenOnceAndFeedsAtMostAWindow) {
  for (std::int64_t n = 0; n <= 40; ++n) {
    for (std::int64_t window = 1; window <= 12; ++window) {
      std::int64_t next = 0;
      for (const Window& w : plan_lm_eval(n, window)) {
        EXPECT_EQ(w.score_begin, next);
        EXPECT_GT(w.scored(), 0);
        EXPECT_LE(w.length(), window);
        EXPECT_GE(w.begin, 0);
        EXPECT_GE(w.lead(), 0);
        next = w.score_end;
      }
      EXPECT_EQ(next, n);
    }
  }
}

TEST(Windows, GptqCutsWholeWindowsAndSkipsTheirFirstToken) {
  EXPECT_EQ(describe(plan_gptq(11, 4), 11), (Lines{"0 1 2 -> 1..3", "4 5 6 -> 5..7"}));
  EXPECT_TRUE(plan_gptq(3, 4).empty());
  EXPECT_EQ(plan_gptq(341469, 2048).size(), 166u);  // WikiText-2 test in Llama-2 tokens
}

TEST(Windows, LlamaCppScoresTheSecondHalf) {
  EXPECT_EQ(describe(plan_llama_cpp(13, 6, true), 13),
            (Lines{"P 1 2 3 4 -> 4..5", "P 7 8 9 10 -> 10..11"}));
  EXPECT_EQ(describe(plan_llama_cpp(13, 6, false), 13),
            (Lines{"0 1 2 3 4 -> 4..5", "6 7 8 9 10 -> 10..11"}));
  const Window window = plan_llama_cpp(512, 512, true).at(0);
  EXPECT_EQ(window.scored(), 255);
  EXPECT_EQ(window.lead(), 256);
}

TEST(Windows, TooSmallAWindowIsAnError) {
  EXPECT_THROW(plan_lm_eval(10, 0), Error);
  EXPECT_THROW(plan_gptq(10, 1), Error);
  EXPECT_THROW(plan_llama_cpp(10, 2, true), Error);
}

TEST(Protocol, NamesGoBothWaysAndDefaultsFollowTheModel) {
  for (const std::string& name : protocol_names()) {
    EXPECT_EQ(protocol_name(protocol_from_name(name).value()), name);
  }
  for (const std::string& name : bos_policy_names()) {
    EXPECT_EQ(bos_policy_name(bos_policy_from_name(name).value()), name);
  }
  EXPECT_FALSE(protocol_from_name("lm_eval"));
  EXPECT_EQ(default_window(Protocol::kLmEval, 4096), 4096);
  EXPECT_EQ(default_window(Protocol::kGptq, 4096), 2048);
  EXPECT_EQ(default_window(Protocol::kGptq, 1024), 1024);
  EXPECT_EQ(default_window(Protocol::kLlamaCpp, 1024), 512);
}

}  // namespace
}  // namespace aquatint
