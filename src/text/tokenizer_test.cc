#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "testing/shared_data.h"
#include "text/test_tokenizers.h"
#include "text/unicode.h"

namespace aquatint {
namespace {

using nlohmann::json;
using text::byte_level_tokenizer;
using text::parse_tokenizer;
using text::sentencepiece_tokenizer;
using Ids = std::vector<TokenId>;
using Offsets = std::vector<std::pair<std::size_t, std::size_t>>;

std::vector<std::string> tokens_of(const Tokenizer& tokenizer, std::string_view input) {
  std::vector<std::string> tokens;
  for (const TokenId id : tokenizer.encode(input, true)) {
    tokens.push_back(tokenizer.id_to_token(id).value());
  }
  return tokens;
}
using Tokens = std::vector<std::string>;

TEST(Tokenizer, MergesByRankWithinWords) {
  const Tokenizer tokenizer = parse_tokenizer(byte_level_tokenizer());
  EXPECT_EQ(tokens_of(tokenizer, "abc ab"), (Tokens{"abc", "Ġab"}));
  // b-c ranks after a-b, and words do not join.
  EXPECT_EQ(tokens_of(tokenizer, "bc abb"), (Tokens{"bc", "Ġab", "b"}));
  EXPECT_TRUE(tokenizer.encode("", true).empty());
}

TEST(Tokenizer, SentencePiecePrependsToEveryPieceAndFallsBackToBytes) {
  const Tokenizer tokenizer = parse_tokenizer(sentencepiece_tokenizer());
  EXPECT_EQ(tokens_of(tokenizer, "ab"), (Tokens{"<s>", "▁ab"}));
  EXPECT_EQ(tokens_of(tokenizer, "</s>ab  b"), (Tokens{"<s>", "</s>", "▁ab", "▁", "▁", "b"}));
  EXPECT_EQ(tokens_of(tokenizer, "é"), (Tokens{"<s>", "▁", "<0xC3>", "<0xA9>"}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(" aé b", true), true), " aé b");
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.bos_id(), tokenizer.token_to_id("<s>"));
  EXPECT_EQ(tokenizer.eos_id(), tokenizer.token_to_id("</s>"));
  EXPECT_TRUE(tokenizer.is_special(*tokenizer.bos_id()));
}

TEST(Tokenizer, OffsetsAreBytesOfTheInput) {
  const Tokenizer tokenizer = parse_tokenizer(sentencepiece_tokenizer());
  const Encoding encoding = tokenizer.encode_with_offsets("a é<s>b", true);
  // <s>  ▁a(prepended mark)…  the two bytes of é share its range.
  EXPECT_EQ(encoding.ids, tokenizer.encode("a é<s>b", true));
  EXPECT_EQ(encoding.offsets,
            (Offsets{{0, 0}, {0, 1}, {0, 1}, {1, 2}, {2, 4}, {2, 4}, {4, 7}, {7, 8}, {7, 8}}));
}

TEST(Tokenizer, OffsetsOfByteLevelTokensLeaveBlanksOut) {
  const Tokenizer tokenizer = parse_tokenizer(byte_level_tokenizer());
  EXPECT_EQ(tokenizer.encode_with_offsets("ab ab  ab", true).offsets,
            (Offsets{{0, 2}, {3, 5}, {6, 6}, {7, 9}}));
}

TEST(Tokenizer, OffsetsGoThroughNormalization) {
  json spec = byte_level_tokenizer();
  spec["normalizer"] = {{"type", "NFC"}};
  const Tokenizer tokenizer = parse_tokenizer(spec);
  const Encoding encoding = tokenizer.encode_with_offsets(
      "ae\xCC\x81"
      "b",
      false);
  // e and the accent compose to one character of two bytes, which maps to the e.
  EXPECT_EQ(encoding.offsets, (Offsets{{0, 1}, {1, 2}, {1, 2}, {4, 5}}));
}

TEST(Tokenizer, RepairsTextThatIsNotUtf8) {
  const Tokenizer tokenizer = parse_tokenizer(byte_level_tokenizer());
  const std::string broken = "a\xFF\xE2\x96z";
  EXPECT_EQ(tokenizer.encode(broken, false), tokenizer.encode("a\uFFFD\uFFFDz", false));
  const Encoding encoding = tokenizer.encode_with_offsets(broken, false);
  EXPECT_EQ(encoding.ids, tokenizer.encode(broken, false));
  EXPECT_EQ(encoding.offsets.back(), (std::pair<std::size_t, std::size_t>{4, 5}));
}

TEST(Tokenizer, LlamaTokenizersFollowTheirConfig) {
  AQUATINT_SHARED_PATH(folder, "models/llama");
  const Tokenizer tokenizer = Tokenizer::open(folder);
  EXPECT_EQ(tokenizer.encode("", true), (Ids{1}));
  EXPECT_EQ(tokenizer.encode("", false), Ids{});
  EXPECT_EQ(tokenizer.vocab_size(), 4096);
  const auto copy = std::filesystem::temp_directory_path() / "aquatint_tokenizer_test";
  std::filesystem::create_directories(copy);
  std::filesystem::copy_file(folder / "tokenizer.json", copy / "tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
  std::ofstream(copy / "tokenizer_config.json")
      << R"({"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": false,
            "add_eos_token": true, "bos_token": {"content": "<s>"}, "eos_token": "</s>"})";
  const Tokenizer changed = Tokenizer::open(copy);
  EXPECT_EQ(changed.encode("", true), (Ids{2}));
  EXPECT_FALSE(changed.adds_bos());
  std::filesystem::remove_all(copy);
}

TEST(Tokenizer, EncodesOneHugeWordInTime) {
  const Tokenizer tokenizer = parse_tokenizer(sentencepiece_tokenizer());
  std::string word;
  while (word.size() < 1'000'000) word += "abcabbcacbbac";
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = tokenizer.encode(word, false);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_LT(elapsed.count(), 20.0);  // a quadratic algorithm takes hours
  EXPECT_EQ(tokenizer.decode(ids, false), word);
}

TEST(Tokenizer, WorksFromSeveralThreads) {
  const Tokenizer tokenizer = parse_tokenizer(byte_level_tokenizer());
  const std::string input = "abc ab bc a b c acb bca";
  const Ids expected = tokenizer.encode(input, true);
  std::vector<std::thread> threads;
  std::vector<int> failures(4, 0);
  for (std::size_t t = 0; t < failures.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) failures[t] += tokenizer.encode(input, true) != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : failures) EXPECT_EQ(count, 0);
}

TEST(StreamDecoder, HoldsBackHalfCharacters) {
  const Tokenizer tokenizer = parse_tokenizer(byte_level_tokenizer());
  const Ids ids = tokenizer.encode("a👍é", false);
  StreamDecoder stream(tokenizer, false);
  std::string all;
  for (const TokenId id : ids) {
    const std::string part = stream.push(id);
    EXPECT_TRUE(text::is_valid_utf8(part));
    EXPECT_EQ(part.find("\uFFFD"), std::string::npos);
    all += part;
  }
  EXPECT_EQ(all + stream.finish(), "a👍é");
  // A character that is never finished shows as a replacement at the end.
  EXPECT_EQ(stream.push(ids[1]), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

TEST(StreamDecoder, StripsTheFirstBlankOnly) {
  const Tokenizer tokenizer = parse_tokenizer(sentencepiece_tokenizer());
  StreamDecoder stream(tokenizer, true);
  const TokenId word = *tokenizer.token_to_id("▁ab");
  EXPECT_EQ(stream.push(*tokenizer.bos_id()), "");
  EXPECT_EQ(stream.push(word), "ab");
  EXPECT_EQ(stream.push(word), " ab");
  EXPECT_EQ(stream.push(-1), "");
  EXPECT_EQ(stream.push(999999), "");
  EXPECT_EQ(stream.finish(), "");
}

TEST(AddedTokens, HonourTheirFlags) {
  json spec = byte_level_tokenizer();
  const auto add = [&](const char* content, json flags) {
    flags.update({{"id", 1000}, {"content", content}});
    spec["added_tokens"].push_back(flags);
  };
  add("[L]", {{"lstrip", true}, {"normalized", false}});
  add("[R]", {{"rstrip", true}, {"normalized", false}});
  add("bb", {{"single_word", true}, {"normalized", false}});
  add("[L][R]", {{"normalized", false}});
  const Tokenizer tokenizer = parse_tokenizer(spec);
  EXPECT_EQ(tokens_of(tokenizer, "a \n[L] b"), (Tokens{"a", "[L]", "Ġ", "b"}));
  EXPECT_EQ(tokens_of(tokenizer, "[R] \u3000 b"), (Tokens{"[R]", "b"}));
  EXPECT_EQ(tokens_of(tokenizer, "bb abb bb"), (Tokens{"bb", "Ġab", "b", "Ġ", "bb"}));
  EXPECT_EQ(tokens_of(tokenizer, "[L][R]a"), (Tokens{"[L][R]", "a"}));
}

}  // namespace
}  // namespace aquatint
