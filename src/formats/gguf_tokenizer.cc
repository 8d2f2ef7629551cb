#include "formats/gguf_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"

namespace aquatint {
namespace {

using nlohmann::json;

// Kinds of tokens, as llama.cpp numbers them.
enum TokenKind : std::int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5
};

constexpr const char* kBlank = "\xE2\x96\x81";  // U+2581, SentencePiece's blank

// How words are cut, one pattern after the other, each within the pieces of those before.
constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr const char* kDigit = R"(\p{N})";
constexpr const char* kDigits = R"(\p{N}+)";
constexpr const char* kThreeDigits = "[0-9][0-9][0-9]";

struct PreTokenizer {
  const char* name;
  std::vector<const char*> patterns;
  bool whole_words = false;  // a word that is a token is that token, whatever the merges say
  bool composes = false;     // NFC first
  bool adds_bos = false;     // when the file does not say
};

// Those whose originals are of the families that text/tokenizer.h reads.
const std::vector<PreTokenizer>& pre_tokenizers() {
  static const std::vector<PreTokenizer> all = {
      {"default", {kPunctuation, kGpt2, kDigits, kThreeDigits}},
      {"gpt-2", {kGpt2}},
      {"phi-2", {kGpt2}},
      {"olmo", {kGpt2}, false, true},
      {"mpt", {kGpt2}, false, true},
      {"smollm", {kDigit, kGpt2}},
      {"starcoder", {kDigit, kGpt2}},
      {"refact", {kDigit, kGpt2}},
      {"codeshell", {kDigit, kGpt2}},
      {"llama3", {kLlama3}, true, false, true},
      {"llama-v3", {kLlama3}, true, false, true},
      {"llama-bpe", {kLlama3}, true, false, true},
      {"dbrx", {kLlama3}},
      {"smaug-bpe", {kLlama3}},
      {"qwen2", {kQwen2}, false, true},
      {"deepseek-r1-qwen", {kQwen2}, false, true},
      {"stablelm2", {kQwen2}},
      {"tekken", {kTekken}, true, false, true},
  };
  return all;
}

class TokenizerBuilder {
 public:
  explicit TokenizerBuilder(const GgufMetadata& metadata)
      : m_(metadata),
        tokens_(metadata.strings("tokenizer.ggml.tokens")),
        kinds_(metadata.ints("tokenizer.ggml.token_type")) {
    if (tokens_.empty()) corrupt("it has no tokens (tokenizer.ggml.tokens)");
    if (!kinds_.empty() && kinds_.size() != tokens_.size()) {
      corrupt("it has {} tokens and kinds of {}", tokens_.size(), kinds_.size());
    }
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      if (kind(id) != kUnused) ids_.emplace(tokens_[id], id);  // the first of two alike
    }
  }

  TokenizerFiles build() {
    const std::string model = m_.get_string("tokenizer.ggml.model");
    json spec = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
    spec["added_tokens"] = added_tokens();
    bool adds_bos = false;
    if (model == "gpt2") {
      adds_bos = fill_byte_level(spec);
    } else if (model == "llama") {
      fill_sentence_piece(spec);
      adds_bos = true;
    } else {
      raise(ErrorKind::kUnsupported,
            "'{}': tokenizer.ggml.model '{}' is not supported, only 'gpt2' and 'llama' are",
            m_.origin(), printable(model));
    }
    adds_bos = m_.find_bool("tokenizer.ggml.add_bos_token").value_or(adds_bos);
    const bool adds_eos = m_.find_bool("tokenizer.ggml.add_eos_token").value_or(false);
    spec["post_processor"] = post_processor(adds_bos, adds_eos);
    return {text_of(spec), text_of(config(adds_bos, adds_eos))};
  }

 private:
  template <typename... Args>
  [[noreturn]] void corrupt(fmt::format_string<Args...> text, Args&&... args) const {
    raise(ErrorKind::kCorrupt, "'{}': its tokenizer: {}", m_.origin(),
          fmt::format(text, std::forward<Args>(args)...));
  }

  // Token strings are checked here to be text: JSON can be nothing else.
  std::string text_of(const json& value) const {
    try {
      return value.dump();
    } catch (const json::exception&) {
      corrupt("a token is not valid UTF-8");
    }
  }

  std::int64_t kind(std::size_t id) const { return kinds_.empty() ? kNormal : kinds_[id]; }

  // Whether a token stands for text by being split and merged, and not as a whole.
  bool is_piece(std::size_t id) const { return kind(id) == kNormal || kind(id) == kUserDefined; }

  json added_tokens() const {
    json list = json::array();
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      const std::int64_t k = kind(id);
      if ((k != kControl && k != kUnknown && k != kUserDefined) || ids_.at(tokens_[id]) != id) {
        continue;
      }
      list.push_back({{"id", id},
                      {"content", std::string(tokens_[id])},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", k != kUserDefined}});
    }
    return list;
  }

  json vocabulary() const {
    json vocab = json::object();
    for (const auto& [token, id] : ids_) vocab[std::string(token)] = id;
    return vocab;
  }

  json listed_merges() const {
    json merges = json::array();
    for (const std::string_view merge : m_.strings("tokenizer.ggml.merges")) {
      merges.push_back(std::string(merge));
    }
    return merges;
  }

  // --- bytes -----------------------------------------------------------------------------------

  const PreTokenizer& find_pre_tokenizer() const {
    const std::string name = m_.find_string("tokenizer.ggml.pre").value_or("default");
    for (const PreTokenizer& known : pre_tokenizers()) {
      if (name == known.name) return known;
    }
    raise(ErrorKind::kUnsupported, "'{}': tokenizer.ggml.pre '{}' is not supported", m_.origin(),
          printable(name));
  }

  // Returns whether such tokenizers put a beginning-of-text token in front.
  bool fill_byte_level(json& spec) const {
    const PreTokenizer& pre = find_pre_tokenizer();
    const json bytes = {{"type", "ByteLevel"},
                        {"add_prefix_space", false},
                        {"trim_offsets", true},
                        {"use_regex", false}};
    json steps = json::array();
    for (const char* pattern : pre.patterns) {
      steps.push_back({{"type", "Split"},
                       {"pattern", {{"Regex", pattern}}},
                       {"behavior", "Isolated"},
                       {"invert", false}});
    }
    steps.push_back(bytes);
    spec["normalizer"] = pre.composes ? json{{"type", "NFC"}} : json();
    spec["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
    spec["decoder"] = bytes;
    spec["model"] = {{"type", "BPE"},
                     {"dropout", nullptr},
                     {"unk_token", nullptr},
                     {"continuing_subword_prefix", nullptr},
                     {"end_of_word_suffix", nullptr},
                     {"fuse_unk", false},
                     {"byte_fallback", false},
                     {"ignore_merges", pre.whole_words},
                     {"vocab", vocabulary()},
                     {"merges", listed_merges()}};
    return pre.adds_bos;
  }

  // --- characters with scores --------------------------------------------------------------------

  // SentencePiece joins the two neighbours whose union has the best score. As a list of merges that
  // is every way to cut a token into two others, by the token's score; among the ways to cut one
  // token, in the order that transformers' conversion gives them.
  json merges_of_scores() const {
    const std::vector<float> scores = m_.floats("tokenizer.ggml.scores");
    if (scores.size() != tokens_.size()) {
      corrupt("it has {} tokens, no merges and {} scores", tokens_.size(), scores.size());
    }
    struct Merge {
      float score;
      std::size_t left_size, right_size;  // in characters
      std::size_t left, right;            // ids
    };
    const auto find = [&](std::string_view piece) -> std::optional<std::size_t> {
      const auto found = ids_.find(piece);
      if (found == ids_.end() || !is_piece(found->second)) return std::nullopt;
      return found->second;
    };
    constexpr std::size_t kLongest = 256;  // a token's cuts are quadratic in its size
    std::vector<Merge> merges;
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      const std::string_view token = tokens_[id];
      if (!is_piece(id) || token.size() > kLongest || ids_.at(token) != id) continue;
      const std::size_t begin = merges.size();
      const auto is_start = [&](std::size_t i) {
        return (static_cast<unsigned char>(token[i]) & 0xC0) != 0x80;
      };
      const auto count = [&](std::size_t from, std::size_t to) {
        std::size_t n = 0;
        for (std::size_t i = from; i < to; ++i) n += is_start(i) ? 1u : 0u;
        return n;
      };
      for (std::size_t cut = 1; cut < token.size(); ++cut) {
        if (!is_start(cut)) continue;
        const auto left = find(token.substr(0, cut)), right = find(token.substr(cut));
        if (!left || !right) continue;
        merges.push_back({scores[id], count(0, cut), count(cut, token.size()), *left, *right});
      }
      std::sort(merges.begin() + static_cast<std::ptrdiff_t>(begin), merges.end(),
                [](const Merge& a, const Merge& b) {
                  return std::pair(a.left, a.right) < std::pair(b.left, b.right);
                });
    }
    std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
      return std::tuple(a.score, a.left_size, a.right_size) >
             std::tuple(b.score, b.left_size, b.right_size);
    });
    json list = json::array();
    for (const Merge& merge : merges) {
      list.push_back({std::string(tokens_[merge.left]), std::string(tokens_[merge.right])});
    }
    return list;
  }

  void fill_sentence_piece(json& spec) const {
    const bool prefix = m_.find_bool("tokenizer.ggml.add_space_prefix").value_or(true);
    json normalizers = json::array(), decoders = json::array();
    if (prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", kBlank}});
    normalizers.push_back(
        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kBlank}});
    decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", kBlank}}}, {"content", " "}});
    decoders.push_back({{"type", "ByteFallback"}});
    decoders.push_back({{"type", "Fuse"}});
    if (prefix) {
      decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    }
    spec["normalizer"] = {{"type", "Sequence"}, {"normalizers", normalizers}};
    spec["pre_tokenizer"] = nullptr;
    spec["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
    const json unknown = token_text("tokenizer.ggml.unknown_token_id", unknown_id());
    spec["model"] = {
        {"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", unknown},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"ignore_merges", false},
        {"vocab", vocabulary()},
        {"merges", m_.has("tokenizer.ggml.merges") ? listed_merges() : merges_of_scores()}};
  }

  std::optional<std::int64_t> unknown_id() const {
    const auto found = std::find(kinds_.begin(), kinds_.end(), kUnknown);
    if (found == kinds_.end()) return std::nullopt;
    return found - kinds_.begin();
  }

  // --- special tokens ----------------------------------------------------------------------------

  // The token whose id is under a key, or `otherwise`; null if there is neither.
  json token_text(const char* key, std::optional<std::int64_t> otherwise = {}) const {
    const auto given = m_.find_int(key);
    const auto id = given ? given : otherwise;
    if (!id) return nullptr;
    if (*id < 0 || *id >= std::ssize(tokens_)) {
      corrupt("{} is {}; it has {} tokens", key, *id, tokens_.size());
    }
    return std::string(tokens_[static_cast<std::size_t>(*id)]);
  }

  json special_token(const char* key, const char* purpose, json& used) const {
    const json token = token_text(key);
    if (token.is_null()) corrupt("{} is set, but {} is not", purpose, key);
    used[token.get<std::string>()] = {
        {"id", token}, {"ids", {*m_.find_int(key)}}, {"tokens", {token}}};
    return {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  }

  json post_processor(bool adds_bos, bool adds_eos) const {
    if (!adds_bos && !adds_eos) return nullptr;
    json used = json::object(), single = json::array();
    if (adds_bos) {
      single.push_back(
          special_token("tokenizer.ggml.bos_token_id", "the beginning-of-text token", used));
    }
    single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    if (adds_eos) {
      single.push_back(special_token("tokenizer.ggml.eos_token_id", "the end-of-text token", used));
    }
    json pair = single;
    pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
    return {{"type", "TemplateProcessing"},
            {"single", single},
            {"pair", pair},
            {"special_tokens", used}};
  }

  json config(bool adds_bos, bool adds_eos) const {
    json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                {"add_bos_token", adds_bos},
                {"add_eos_token", adds_eos},
                {"clean_up_tokenization_spaces", false},
                {"bos_token", token_text("tokenizer.ggml.bos_token_id")},
                {"eos_token", token_text("tokenizer.ggml.eos_token_id")}};
    const json unknown = token_text("tokenizer.ggml.unknown_token_id");
    if (!unknown.is_null()) out["unk_token"] = unknown;
    const json padding = token_text("tokenizer.ggml.padding_token_id");
    if (!padding.is_null()) out["pad_token"] = padding;
    if (const auto chat = m_.find_string("tokenizer.chat_template")) out["chat_template"] = *chat;
    return out;
  }

  const GgufMetadata& m_;
  std::vector<std::string_view> tokens_;
  std::vector<std::int64_t> kinds_;
  std::unordered_map<std::string_view, std::size_t> ids_;
};

}  // namespace

TokenizerFiles gguf_tokenizer(const GgufMetadata& metadata) {
  return TokenizerBuilder(metadata).build();
}

}  // namespace aquatint
