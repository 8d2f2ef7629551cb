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
    greedy_.stop.max_tokens = 40;
  }
  GenerateResult generate_with(const GenerateOptions& options) {
    pieces_.clear();
    return generate_after(kPrompt, options);
  }
  GenerateResult generate_after(std::string_view prompt, const GenerateOptions& options) {
    Session session(model_, /*remembers=*/false);
    return generate(session, tokenizer_, prompt_tokens(tokenizer_, prompt, true), options,
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
  options.stop.max_tokens = 20;
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
      options.stop.stop = {"never to be seen", stop};
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
  options.stop.stop = {text.substr(40, 4), text.substr(12, 4), ""};
  EXPECT_EQ(generate_with(options).text, text.substr(0, text.find(options.stop.stop[1])));
}

// The beginning of a stop string is held back until it is known not to be one, and given out then.
TEST_F(Generate, WhatOnlyBeginsLikeAStopStringIsGivenOut) {
  const std::string text = generate_with(greedy_).text;
  GenerateOptions options = greedy_;
  options.stop.stop = {text.substr(20, 12) + "\x01", text.substr(text.size() - 5) + "\x01"};
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
  greedy_.stop.max_tokens = 3;
  const auto result = generate_after("", greedy_);
  EXPECT_EQ(result.prompt_tokens, std::vector<std::int32_t>{*tokenizer_.bos_id()});
  EXPECT_EQ(result.tokens.size(), 3u);
}

TEST_F(Generate, NoTokensAskedForGivesNone) {
  greedy_.stop.max_tokens = 0;
  const auto result = generate_with(greedy_);
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_EQ(result.text, "");
}

TEST_F(Generate, EndTokensEndTheText) {
  const auto all = generate_with(greedy_).tokens;
  GenerateOptions options = greedy_;
  options.stop.end_tokens = {all[10], all[5]};
  const auto result = generate_with(options);
  EXPECT_EQ(result.stop_reason, StopReason::kEndOfText);
  const auto end = std::find_first_of(all.begin(), all.end(), options.stop.end_tokens.begin(),
                                      options.stop.end_tokens.end());
  EXPECT_EQ(result.tokens, std::vector<std::int32_t>(all.begin(), end));
  options.stop.ignore_eos = true;
  EXPECT_EQ(generate_with(options).tokens, all);
}

// A prompt that goes on from what a session remembers gives what it gives from the beginning.
TEST_F(Generate, SessionsRunOnlyWhatIsNew) {
  const auto prompt = prompt_tokens(tokenizer_, kPrompt, true);
  const auto whole = generate_with(greedy_);
  Session session(model_, /*remembers=*/true);
  const auto again = [&](std::span<const std::int32_t> tokens) {
    return generate(session, tokenizer_, {tokens.begin(), tokens.end()}, greedy_,
                    [](std::string_view) {});
  };
  EXPECT_EQ(again(prompt).tokens, whole.tokens);
  // The same prompt: all but its last token.
  auto result = again(prompt);
  EXPECT_EQ(result.tokens, whole.tokens);
  EXPECT_EQ(result.remembered_tokens, prompt.size() - 1);
  // Prompt and answer, of which the last token was not run.
  auto longer = prompt;
  longer.insert(longer.end(), whole.tokens.begin(), whole.tokens.end());
  const auto anew = generate_after(tokenizer_.decode(longer, true), greedy_);
  ASSERT_EQ(anew.prompt_tokens, longer);
  result = again(longer);
  EXPECT_EQ(result.tokens, anew.tokens);
  EXPECT_EQ(result.remembered_tokens, longer.size() - 1);
  // Another text: nothing.
  const std::vector<std::int32_t> other = {9, 8, 7};
  result = again(other);
  EXPECT_EQ(result.remembered_tokens, 0u);
  Session fresh(model_, /*remembers=*/false);
  EXPECT_EQ(result.tokens,
            generate(fresh, tokenizer_, other, greedy_, [](std::string_view) {}).tokens);
}

TEST_F(Generate, ManyAreAsEachAlone) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (const char* prompt : {"It was", "The old man looked at the sea and", "", "Call me", "A"}) {
    prompts.push_back(prompt_tokens(tokenizer_, prompt, true));
  }
  GenerateOptions options;
  options.stop.max_tokens = 12;
  options.sampler.seed = 7;
  std::vector<std::vector<std::int32_t>> alone;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    GenerateOptions own = options;
    own.sampler.seed += i;
    Session session(model_, false);
    alone.push_back(generate(session, tokenizer_, prompts[i], own, [](std::string_view) {}).tokens);
  }
  for (const std::int64_t batch : {1, 2, 3, 8}) {
    std::vector<std::vector<std::int32_t>> together(prompts.size());
    generate_many(model_, tokenizer_, prompts, batch, options,
                  [&](std::size_t i, const GenerateResult& result) {
                    EXPECT_EQ(result.prompt_tokens, prompts[i]);
                    together[i] = result.tokens;
                  });
    EXPECT_EQ(together, alone) << batch;
  }
}

}  // namespace
}  // namespace aquatint
