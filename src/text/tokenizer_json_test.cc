// Every way a tokenizer.json can be wrong is one clear error.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/test_tokenizers.h"

namespace aquatint::text {
namespace {

using nlohmann::json;

void expect_error(const std::string& document, ErrorKind kind, const std::string& fragment) {
  try {
    Tokenizer::parse(document, "test.json");
    ADD_FAILURE() << "accepted; expected an error with '" << fragment << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(fragment), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).rfind("test.json", 0), 0u) << error.what();
  }
}

void expect_error(const std::function<void(json&)>& damage, ErrorKind kind,
                  const std::string& fragment) {
  json spec = sentencepiece_tokenizer();
  damage(spec);
  expect_error(spec.dump(), kind, fragment);
}

TEST(TokenizerJson, IsJson) {
  expect_error("", ErrorKind::kCorrupt, "not valid JSON");
  expect_error("{\"model\": ", ErrorKind::kCorrupt, "not valid JSON");
  expect_error("[1]", ErrorKind::kCorrupt, "expected an object");
  expect_error("{}", ErrorKind::kCorrupt, "'model' is missing");
  expect_error(std::string(100000, '['), ErrorKind::kCorrupt, "levels deep");
  expect_error("{\"model\": \"\xFF\"}", ErrorKind::kCorrupt, "not valid JSON");
}

TEST(TokenizerJson, NamesUnknownComponents) {
  constexpr auto kUnsupported = ErrorKind::kUnsupported;
  expect_error([](json& s) { s["version"] = "2.0"; }, kUnsupported, "version '2.0'");
  expect_error([](json& s) { s["model"]["type"] = "Unigram"; }, kUnsupported, "'Unigram'");
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    expect_error([part](json& s) { s[part] = {{"type", "Strange"}}; }, kUnsupported, "'Strange'");
    expect_error([part](json& s) { s[part] = 7; }, ErrorKind::kCorrupt, part);
    expect_error([part](json& s) { s[part] = json::object(); }, ErrorKind::kCorrupt, "'type'");
  }
}

TEST(TokenizerJson, ChecksTheVocabulary) {
  constexpr auto kCorrupt = ErrorKind::kCorrupt;
  expect_error([](json& s) { s["model"].erase("vocab"); }, kCorrupt, "'vocab' is missing");
  expect_error([](json& s) { s["model"]["vocab"] = json::array(); }, kCorrupt, "'vocab'");
  expect_error([](json& s) { s["model"]["vocab"]["x"] = 1; }, kCorrupt, "same id 1");
  expect_error([](json& s) { s["model"]["vocab"]["x"] = -1; }, kCorrupt, "-1 is not a token id");
  expect_error([](json& s) { s["model"]["vocab"]["x"] = 1.5; }, kCorrupt, "1.5");
  expect_error([](json& s) { s["model"]["vocab"]["x"] = 4294967296; }, kCorrupt, "4294967296");
  expect_error([](json& s) { s["model"]["vocab"]["x"] = "y"; }, kCorrupt, "not a token id");
}

TEST(TokenizerJson, ChecksTheMerges) {
  constexpr auto kCorrupt = ErrorKind::kCorrupt;
  const auto add = [](json merge) {
    return [merge](json& s) { s["model"]["merges"].push_back(merge); };
  };
  expect_error([](json& s) { s["model"].erase("merges"); }, kCorrupt, "'merges' is missing");
  expect_error(add({"c", "c"}), kCorrupt, "needs the token 'cc'");
  expect_error(add({"z", "c"}), kCorrupt, "needs the token 'z'");
  expect_error(add({"a", "b", "c"}), kCorrupt, "entry 4 is not a pair");
  expect_error(add(5), kCorrupt, "entry 4 is not a pair");
  expect_error(add("abc"), kCorrupt, "'abc' is not two tokens");
  expect_error(add("a b c"), kCorrupt, "'a b c' is not two tokens");
}

TEST(TokenizerJson, ChecksComponents) {
  constexpr auto kCorrupt = ErrorKind::kCorrupt;
  expect_error([](json& s) { s["added_tokens"] = 3; }, kCorrupt, "added_tokens");
  expect_error([](json& s) { s["added_tokens"].push_back({{"id", 1}}); }, kCorrupt, "'content'");
  expect_error([](json& s) { s["added_tokens"][0]["lstrip"] = 1; }, kCorrupt, "'lstrip'");
  expect_error([](json& s) { s["post_processor"]["special_tokens"] = json::object(); }, kCorrupt,
               "'<s>' is missing");
  expect_error([](json& s) { s["post_processor"]["single"][1]["Sequence"]["id"] = "B"; }, kCorrupt,
               "sequence 'B'");
  expect_error([](json& s) { s["decoder"]["decoders"][3]["content"] = "ab"; }, kCorrupt,
               "expected one character");
  const json bad_regex = {
      {"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
  expect_error([&](json& s) { s["pre_tokenizer"] = bad_regex; }, ErrorKind::kUnsupported,
               "regular expression '(a'");
}

TEST(TokenizerJson, RefusesToGrowATextWithoutBound) {
  json spec = sentencepiece_tokenizer();
  json doubling = json::array();
  for (int i = 0; i < 60; ++i) {
    doubling.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
  }
  spec["normalizer"] = {{"type", "Sequence"}, {"normalizers", doubling}};
  const Tokenizer tokenizer = parse_tokenizer(spec);
  EXPECT_THROW(tokenizer.encode("a", false), Error);
}

TEST(TokenizerJson, ReportsAMissingUnknownTokenWhenItIsNeeded) {
  json spec = sentencepiece_tokenizer();
  spec["model"]["byte_fallback"] = false;
  spec["model"]["unk_token"] = "[UNK]";
  const Tokenizer tokenizer = parse_tokenizer(spec);
  EXPECT_EQ(tokenizer.encode("ab", false).size(), 1u);
  EXPECT_THROW(tokenizer.encode("z", false), Error);
}

}  // namespace
}  // namespace aquatint::text
