// Generation with the default model of the repository: streaming, stop strings, limits.
#include "runtime/generate.h"

#include <gtest/gtest.h>

#include "base/threads.h"
#include "formats/test_support.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

constexpr const char* kPrompt = "The old man looked at the sea and";

class Generate : public ::testing::Test {
 protected:
  Generate()
      : folder_(testing::source_dir() / "assets/models/gla-demo"),
        model_(Model::load(Checkpoint::open(folder_), {})),
        tokenizer_(Tokenizer::open(folder_)) {
    set_num_threads(1);  // tests run side by side
    greedy_.sampler.temperature = 0;
    greedy_.max_tokens = 40;
  }
  GenerateResult generate_with(const GenerateOptions& options) {
    pieces_.clear();
    return generate(model_, tokenizer_, kPrompt, options,
                    [&](std::string_view text) { pieces_.emplace_back(text); });
  }
  std::string streamed() const {
    std::string all;
    for (const std::string& piece : pieces_) all += piece;
    return all;
  }

  std::filesystem::path folder_;
  Model model_;
  Tokenizer tokenizer_;
  GenerateOptions greedy_;
  std::vector<std::string> pieces_;
};

TEST_F(Generate, StreamsWhatItReturns) {
  const auto result = generate_with(greedy_);
  EXPECT_EQ(result.stop_reason, StopReason::kMaxTokens);
  EXPECT_EQ(result.tokens.size(), 40u);
  EXPECT_GT(pieces_.size(), 20u);
  EXPECT_EQ(streamed(), result.text);
  EXPECT_EQ(result.prompt_tokens, tokenizer_.encode(kPrompt, true));
}

TEST_F(Generate, GreedyTokensAreTheLikeliestOfTheModel) {
  const auto result = generate_with(greedy_);
  SequenceState state = model_.new_state();
  auto logits = model_.run(result.prompt_tokens, state);
  for (const std::int32_t token : result.tokens) {
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(token, static_cast<std::int32_t>(best));
    logits = model_.run(std::span(&token, 1), state);
  }
}

TEST_F(Generate, SeedsRepeatAndDiffer) {
  GenerateOptions options;
  options.max_tokens = 20;
  options.sampler.seed = 1;
  const auto first = generate_with(options).tokens;
  EXPECT_EQ(generate_with(options).tokens, first);
  options.sampler.seed = 2;
  EXPECT_NE(generate_with(options).tokens, first);
}

// Every substring of some lengths as the stop string: most begin and end inside tokens.
TEST_F(Generate, StopStringsEndTheTextWhereverTheyLie) {
  const std::string text = generate_with(greedy_).text;
  ASSERT_GT(text.size(), 60u);
  for (const std::size_t length : {1u, 3u, 11u, 25u}) {
    for (std::size_t begin = 7; begin + length < 60; begin += 9) {
      GenerateOptions options = greedy_;
      const std::string stop = text.substr(begin, length);
      options.stop = {"never to be seen", stop};
      const auto result = generate_with(options);
      EXPECT_EQ(result.stop_reason, StopReason::kStopString) << stop;
      EXPECT_EQ(result.text, text.substr(0, text.find(stop))) << stop;
      EXPECT_EQ(streamed(), result.text);
    }
  }
}

TEST_F(Generate, TheEarliestStopStringCounts) {
  const std::string text = generate_with(greedy_).text;
  GenerateOptions options = greedy_;
  options.stop = {text.substr(40, 4), text.substr(12, 4), ""};
  EXPECT_EQ(generate_with(options).text, text.substr(0, text.find(options.stop[1])));
}

// The beginning of a stop string is held back until it is known not to be one, and given out then.
TEST_F(Generate, WhatOnlyBeginsLikeAStopStringIsGivenOut) {
  const std::string text = generate_with(greedy_).text;
  GenerateOptions options = greedy_;
  options.stop = {text.substr(20, 12) + "\x01", text.substr(text.size() - 5) + "\x01"};
  const auto result = generate_with(options);
  EXPECT_EQ(result.stop_reason, StopReason::kMaxTokens);
  EXPECT_EQ(result.text, text);
  EXPECT_EQ(streamed(), text);
  std::size_t at = 0;  // no piece ends inside the first stop string's beginning
  for (const std::string& piece : pieces_) {
    at += piece.size();
    EXPECT_FALSE(at > 20 && at < 32) << at;
  }
}

TEST_F(Generate, EmptyPromptBeginsWithTheBeginningOfText) {
  greedy_.max_tokens = 3;
  const auto result = generate(model_, tokenizer_, "", greedy_, [](std::string_view) {});
  EXPECT_EQ(result.prompt_tokens, std::vector<std::int32_t>{*tokenizer_.bos_id()});
  EXPECT_EQ(result.tokens.size(), 3u);
}

TEST_F(Generate, NoTokensAskedForGivesNone) {
  greedy_.max_tokens = 0;
  const auto result = generate_with(greedy_);
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_EQ(result.text, "");
}

}  // namespace
}  // namespace aquatint
