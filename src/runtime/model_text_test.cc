// Tokenizers in GGUF files give the ids of the tokenizer.json they were made from; those with
// scores the ids of SentencePiece's rule applied step by step.
#include "runtime/model_text.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/mapped_file.h"
#include "formats/gguf_testing.h"
#include "formats/gguf_tokenizer.h"
#include "formats/test_support.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::GgufWriter;
using testing::TempFolder;

const std::vector<std::string> kTexts = {
    "",
    " ",
    "Hello world",
    "  two  blanks and\ttabs\r\n\r\n newlines ",
    "It's 2024, don't SHOUT'S: 1234567 \xC2\xBC",
    "caf\xC3\xA9 na\xC3\xAFve e\xCC\x81 \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E \xF0\x9F\x98\x80",
    "def f(x):\n        return x**2  # comment\n",
    "a<|endoftext|>b</s> <s>c",
    "!!!???...,,,$$$ ++==",
};

// Everything of a tokenizer.json that a GGUF file holds.
struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> kinds;
  std::vector<std::string> merges;
};

Vocabulary read_vocabulary(const std::filesystem::path& folder) {
  const json spec = json::parse(read_text_file(folder / "tokenizer.json"));
  std::map<std::int64_t, std::pair<std::string, std::int32_t>> by_id;
  for (const auto& [token, id] : spec["model"]["vocab"].items()) {
    by_id[id.get<std::int64_t>()] = {token, token.starts_with("<0x") ? 6 : 1};
  }
  for (const json& added : spec["added_tokens"]) {
    const bool unknown = added["content"] == "<unk>";
    by_id[added["id"].get<std::int64_t>()] = {added["content"].get<std::string>(),
                                              unknown            ? 2
                                              : added["special"] ? 3
                                                                 : 4};
  }
  Vocabulary out;
  for (const auto& [id, token] : by_id) {
    out.tokens.push_back(token.first);
    out.kinds.push_back(token.second);
  }
  for (const json& merge : spec["model"]["merges"]) {
    const bool pair = merge.is_array();
    out.merges.push_back(pair ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                              : merge.get<std::string>());
  }
  return out;
}

class GgufTokenizer : public ::testing::Test {
 protected:
  static GgufWriter writer_of(const Vocabulary& vocabulary, const char* model) {
    GgufWriter writer;
    writer.set("tokenizer.ggml.model", model).set("tokenizer.ggml.tokens", vocabulary.tokens);
    writer.set("tokenizer.ggml.token_type", vocabulary.kinds);
    return writer;
  }
  Tokenizer open(const GgufWriter& writer) {
    return open_tokenizer(folder_.write("x.gguf", writer.bytes()));
  }
  static void expect_same(const Tokenizer& a, const Tokenizer& b, bool special) {
    for (const std::string& text : kTexts) {
      EXPECT_EQ(a.encode(text, special), b.encode(text, special)) << text;
      EXPECT_EQ(a.decode(a.encode(text, special), false), b.decode(b.encode(text, special), false));
    }
    EXPECT_EQ(a.vocab_size(), b.vocab_size());
  }

  TempFolder folder_;
};

TEST_F(GgufTokenizer, Gpt2) {
  AQUATINT_SHARED_PATH(folder, "models/gpt2");
  const Vocabulary vocabulary = read_vocabulary(folder);
  const Tokenizer tokenizer = open(writer_of(vocabulary, "gpt2")
                                       .set("tokenizer.ggml.pre", "gpt-2")
                                       .set("tokenizer.ggml.merges", vocabulary.merges)
                                       .set("tokenizer.ggml.eos_token_id", 0u));
  expect_same(tokenizer, Tokenizer::open(folder), true);
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.eos_id(), 0);
}

// Mamba's: NFC first, and runs of blanks that are tokens.
TEST_F(GgufTokenizer, GptNeoX) {
  AQUATINT_SHARED_PATH(folder, "data/tokenizers/gpt-neox-20b");
  const Vocabulary vocabulary = read_vocabulary(folder);
  expect_same(open(writer_of(vocabulary, "gpt2")
                       .set("tokenizer.ggml.pre", "mpt")
                       .set("tokenizer.ggml.merges", vocabulary.merges)),
              Tokenizer::open(folder), true);
}

// The same vocabulary cut in other ways, against the tokenizer.json that says so.
TEST_F(GgufTokenizer, WaysOfCuttingWords) {
  AQUATINT_SHARED_PATH(folder, "models/gpt2");
  const Vocabulary vocabulary = read_vocabulary(folder);
  json spec = json::parse(read_text_file(folder / "tokenizer.json"));
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  const json plain_bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const auto split = [](const char* pattern) {
    return json{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
  };
  const auto sequence = [](const json& steps) {
    return json{{"type", "Sequence"}, {"pretokenizers", steps}};
  };
  const json digits = {{"type", "Digits"}, {"individual_digits", true}};
  // As in the tokenizer.json of SmolLM, Llama 3 and Qwen2.
  const std::tuple<const char*, json, bool, bool> cases[] = {
      {"smollm", sequence({digits, bytes}), false, false},
      {"llama-bpe",
       sequence({split(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
                       R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
                 plain_bytes}),
       true, false},
      {"qwen2",
       sequence({split(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                       R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
                 plain_bytes}),
       false, true}};
  for (const auto& [name, pre, whole_words, composes] : cases) {
    spec["pre_tokenizer"] = pre;
    spec["model"]["ignore_merges"] = whole_words;
    spec["normalizer"] = composes ? json{{"type", "NFC"}} : json();
    SCOPED_TRACE(name);
    expect_same(open(writer_of(vocabulary, "gpt2")
                         .set("tokenizer.ggml.pre", name)
                         .set("tokenizer.ggml.bos_token_id", 0u)
                         .set("tokenizer.ggml.merges", vocabulary.merges)),
                Tokenizer::parse(spec.dump(), "tokenizer.json"), false);
  }
  // Without a name: punctuation, then words, then digits by threes.
  const Tokenizer unnamed =
      open(writer_of(vocabulary, "gpt2").set("tokenizer.ggml.merges", vocabulary.merges));
  for (const std::string& text : kTexts) {
    EXPECT_EQ(unnamed.decode(unnamed.encode(text, false), false), text);
  }
}

// SentencePiece's rule: of all neighbours whose union is a token, join those with the best score,
// the leftmost of equals.
std::vector<TokenId> join_by_score(const std::string& text, const Vocabulary& vocabulary,
                                   const std::vector<float>& scores) {
  std::unordered_map<std::string, std::size_t> ids;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.kinds[id] == 1) ids.emplace(vocabulary.tokens[id], id);
  }
  std::vector<std::string> parts;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) parts.emplace_back();
    parts.back() += c;
  }
  for (;;) {
    std::size_t best = parts.size();
    float best_score = -1e30f;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ids.find(parts[i] + parts[i + 1]);
      if (found == ids.end() || scores[found->second] <= best_score) continue;
      best = i;
      best_score = scores[found->second];
    }
    if (best == parts.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  std::vector<TokenId> out;
  for (const std::string& part : parts) {
    const auto found = ids.find(part);
    if (found != ids.end()) {
      out.push_back(static_cast<TokenId>(found->second));
      continue;
    }
    for (const char c : part) out.push_back(3 + static_cast<unsigned char>(c));  // <0x00> is 3
  }
  return out;
}

TEST_F(GgufTokenizer, SentencePieceByScores) {
  AQUATINT_SHARED_PATH(folder, "models/llama");
  AQUATINT_SHARED_PATH(book, "data/books_valid.txt");
  const Vocabulary vocabulary = read_vocabulary(folder);
  ASSERT_EQ(vocabulary.tokens[3], "<0x00>");
  std::vector<float> scores;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    scores.push_back(-static_cast<float>(id));
  }
  const Tokenizer tokenizer = open(writer_of(vocabulary, "llama")
                                       .set("tokenizer.ggml.scores", scores)
                                       .set("tokenizer.ggml.bos_token_id", 1u)
                                       .set("tokenizer.ggml.eos_token_id", 2u));
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_TRUE(tokenizer.is_special(2));
  std::ifstream lines(book);
  std::string line;
  int checked = 0;
  while (checked < 400 && std::getline(lines, line)) {
    if (line.empty() || line.size() > 400) continue;
    std::string marked = " " + line;
    for (std::size_t at = 0; (at = marked.find(' ', at)) != std::string::npos;) {
      marked.replace(at, 1, "\xE2\x96\x81");
    }
    std::vector<TokenId> expected = join_by_score(marked, vocabulary, scores);
    EXPECT_EQ(tokenizer.encode(line, false), expected) << line;
    EXPECT_EQ(tokenizer.decode(expected, false), line);
    expected.insert(expected.begin(), 1);
    EXPECT_EQ(tokenizer.encode(line, true), expected);
    ++checked;
  }
  EXPECT_EQ(checked, 400);
}

TEST_F(GgufTokenizer, SentencePieceWithMerges) {
  AQUATINT_SHARED_PATH(folder, "models/llama");
  const Vocabulary vocabulary = read_vocabulary(folder);
  const auto writer = [&] {
    return writer_of(vocabulary, "llama")
        .set("tokenizer.ggml.merges", vocabulary.merges)
        .set("tokenizer.ggml.bos_token_id", 1u)
        .set("tokenizer.ggml.eos_token_id", 2u);
  };
  const Tokenizer original = Tokenizer::open(folder);
  expect_same(open(writer()), original, true);
  // Without a blank in front, and with both ends marked or none.
  const Tokenizer bare = open(writer()
                                  .set("tokenizer.ggml.add_space_prefix", false)
                                  .set("tokenizer.ggml.add_bos_token", false)
                                  .set("tokenizer.ggml.add_eos_token", true));
  std::vector<TokenId> ids = original.encode("Hello", false);
  EXPECT_EQ(bare.decode(bare.encode("Hello", false), false), "Hello");
  EXPECT_NE(bare.encode("Hello", false), ids);
  ids = bare.encode("Hello", true);
  EXPECT_EQ(ids.back(), 2);
  EXPECT_FALSE(bare.adds_bos());
}

// A vocabulary of a few tokens.
GgufWriter small(const std::vector<std::string>& tokens, const std::vector<std::int32_t>& kinds) {
  return GgufWriter()
      .set("tokenizer.ggml.model", "gpt2")
      .set("tokenizer.ggml.pre", "gpt-2")
      .set("tokenizer.ggml.tokens", tokens)
      .set("tokenizer.ggml.token_type", kinds)
      .set("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
}

TEST_F(GgufTokenizer, KindsOfTokens) {
  const Tokenizer tokenizer =
      open(small({"a", "b", "ab", "<end>", "ba", "[PAD]", "a"}, {1, 1, 1, 3, 4, 5, 1}));
  EXPECT_EQ(tokenizer.encode("abba<end>", false), (std::vector<TokenId>{2, 4, 3}));
  EXPECT_TRUE(tokenizer.is_special(3));
  EXPECT_FALSE(tokenizer.is_special(4));
  EXPECT_FALSE(tokenizer.token_to_id("[PAD]"));
  EXPECT_EQ(tokenizer.token_to_id("a"), 0);  // the first of two alike
}

TEST_F(GgufTokenizer, ChatTemplates) {
  const auto path = folder_.write(
      "x.gguf",
      small({"a", "b", "ab"}, {1, 1, 1})
          .set("tokenizer.chat_template",
               "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>"
               "\n{% endfor %}")
          .bytes());
  EXPECT_EQ(open_chat_template(path).name(), "chatml");
  const auto without = folder_.write("y.gguf", small({"a", "b", "ab"}, {1, 1, 1}).bytes());
  expect_error(ErrorKind::kUnsupported, "y.gguf': the model has no chat template",
               [&] { open_chat_template(without); });
}

TEST_F(GgufTokenizer, WhatIsRefused) {
  const std::vector<std::string> tokens{"a", "b", "ab"};
  const auto expect_refused = [&](ErrorKind kind, const std::string& text,
                                  const GgufWriter& writer) {
    expect_error(kind, text, [&] { open(writer); });
  };
  const auto base = [&](const char* model) {
    return GgufWriter().set("tokenizer.ggml.model", model).set("tokenizer.ggml.tokens", tokens);
  };
  const auto corrupt = ErrorKind::kCorrupt, unsupported = ErrorKind::kUnsupported;
  expect_refused(corrupt, "it has no tokens", GgufWriter());
  expect_refused(corrupt, "'tokenizer.ggml.model' is missing",
                 GgufWriter().set("tokenizer.ggml.tokens", tokens));
  expect_refused(unsupported, "tokenizer.ggml.model 'bert' is not supported", base("bert"));
  expect_refused(unsupported, "tokenizer.ggml.pre 'odd' is not supported",
                 base("gpt2").set("tokenizer.ggml.pre", "odd"));
  expect_refused(corrupt, "3 tokens and kinds of 1",
                 base("gpt2").set("tokenizer.ggml.token_type", std::vector<std::int32_t>{1}));
  expect_refused(corrupt, "3 tokens, no merges and 0 scores", base("llama"));
  expect_refused(corrupt, "needs the token 'ba'",
                 base("gpt2").set("tokenizer.ggml.merges", std::vector<std::string>{"b a"}));
  expect_refused(corrupt, "the beginning-of-text token is set, but tokenizer.ggml.bos_token_id",
                 base("gpt2").set("tokenizer.ggml.add_bos_token", true));
  expect_refused(corrupt, "tokenizer.ggml.eos_token_id is 3; it has 3 tokens",
                 base("gpt2").set("tokenizer.ggml.eos_token_id", 3u));
  expect_refused(corrupt, "a token is not valid UTF-8",
                 GgufWriter()
                     .set("tokenizer.ggml.model", "gpt2")
                     .set("tokenizer.ggml.tokens", std::vector<std::string>{"\xff"}));
}

// A folder's own tokenizer.json goes before that of its GGUF file.
TEST_F(GgufTokenizer, FilesOfAFolderGoFirst) {
  folder_.write("x.gguf", small({"a", "b", "ab"}, {1, 1, 1}).bytes());
  EXPECT_EQ(open_tokenizer(folder_.path()).vocab_size(), 3);
  folder_.write("tokenizer.json",
                R"({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})");
  EXPECT_EQ(open_tokenizer(folder_.path()).vocab_size(), 1);
}

}  // namespace
}  // namespace aquatint
