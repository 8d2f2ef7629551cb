// Building the byte-pair encoding model from tokenizer.json, with everything that can be wrong with
// one.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

using nlohmann::json;

constexpr std::string_view kWordMark = "\xE2\x96\x81";  // U+2581, SentencePiece's blank

Vocabulary parse_vocabulary(const json& spec, const std::string& where) {
  const json& vocab = object_field(spec, "vocab", where);
  std::vector<std::pair<std::string, TokenId>> entries;
  entries.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    entries.emplace_back(token, token_id(id, where + ".vocab"));
  }
  return Vocabulary(std::move(entries), where + ".vocab");
}

}  // namespace

Bpe::Options Bpe::parse_options(const json& spec, const std::string& where) {
  Options options;
  const auto unk = optional_string(spec, "unk_token", where);
  options.has_unk = unk.has_value();
  options.unk_token = unk.value_or("");
  options.prefix = optional_string(spec, "continuing_subword_prefix", where).value_or("");
  options.suffix = optional_string(spec, "end_of_word_suffix", where).value_or("");
  options.fuse_unk = bool_field(spec, "fuse_unk", false, where);
  options.byte_fallback = bool_field(spec, "byte_fallback", false, where);
  options.ignore_merges = bool_field(spec, "ignore_merges", false, where);
  return options;
}

// Merges are pairs of tokens, or in older files "left right" in one string.
Bpe::Merges Bpe::parse_merges(const json& spec, const std::string& where) {
  const json& list = array_field(spec, "merges", where);
  Merges merges;
  merges.reserve(list.size());
  for (const json& merge : list) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    if (!merge.is_string()) {
      raise(ErrorKind::kCorrupt, "{}.merges: entry {} is not a pair of tokens", where,
            merges.size());
    }
    const auto& line = merge.get_ref<const std::string&>();
    if (line.starts_with("#version")) continue;
    const std::size_t blank = line.find(' ');
    if (blank == std::string::npos || line.find(' ', blank + 1) != std::string::npos) {
      raise(ErrorKind::kCorrupt, "{}.merges: entry {} '{}' is not two tokens and a blank", where,
            merges.size(), line);
    }
    merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  }
  return merges;
}

MergeTable Bpe::build_merges(const Merges& merges, const Vocabulary& vocabulary,
                             const std::string& prefix, const std::string& where) {
  MergeTable table(merges.size());
  std::uint32_t rank = 0;
  for (const auto& merge : merges) {
    const auto& left = merge.first;
    const auto& right = merge.second;
    const auto require = [&](const std::string& token) {
      const auto id = vocabulary.id(token);
      if (!id) {
        raise(ErrorKind::kCorrupt,
              "{}.merges: entry {} ('{}', '{}') needs the token '{}', which is "
              "not in the vocabulary",
              where, rank, left, right, token);
      }
      return *id;
    };
    const TokenId left_id = require(left);
    const TokenId right_id = require(right);
    if (right.size() < prefix.size()) {
      raise(ErrorKind::kCorrupt, "{}.merges: entry {}: '{}' is shorter than the prefix '{}'", where,
            rank, right, prefix);
    }
    table.insert(left_id, right_id, rank, require(left + right.substr(prefix.size())));
    ++rank;
  }
  return table;
}

Bpe::Bpe(Vocabulary vocabulary, MergeTable merges, Options options, WordUnit unit)
    : vocabulary_(std::move(vocabulary)),
      merges_(std::move(merges)),
      options_(std::move(options)),
      unit_(unit) {
  index_characters();
  index_bytes();
  index_fallback();
  index_byte_lengths();
}

Bpe Bpe::parse(const json& spec, WordUnit unit, const std::string& where) {
  const auto type = optional_string(spec, "type", where);
  if (type && *type != "BPE") {
    raise(ErrorKind::kUnsupported, "{}: type '{}' is not supported, only 'BPE' is", where, *type);
  }
  Options options = parse_options(spec, where);
  if (unit == WordUnit::kBytes && !(options.prefix.empty() && options.suffix.empty())) {
    raise(
        ErrorKind::kUnsupported,
        "{}: continuing_subword_prefix '{}' and end_of_word_suffix '{}' are not supported together "
        "with a ByteLevel pre-tokenizer",
        where, options.prefix, options.suffix);
  }
  Vocabulary vocabulary = parse_vocabulary(spec, where);
  const Merges merges = parse_merges(spec, where);
  MergeTable table = build_merges(merges, vocabulary, options.prefix, where);
  Bpe bpe(std::move(vocabulary), std::move(table), std::move(options), unit);
  bpe.find_anchor(merges);
  return bpe;
}

void Bpe::index_characters() {
  constexpr char32_t kTableSize = 0x10000;
  if (unit_ == WordUnit::kBytes) return;
  characters_.assign(kTableSize, kNoId);
  for (const auto& [token, id] : vocabulary_.entries()) {
    if (token.empty()) continue;
    const DecodedChar c = decode_utf8(token.data());
    if (c.size == token.size() && c.code_point < kTableSize) characters_[c.code_point] = id;
  }
}

void Bpe::index_bytes() {
  bytes_.fill(kNoId);
  if (unit_ == WordUnit::kCharacters) return;
  for (const auto& [token, id] : vocabulary_.entries()) {
    const auto bytes = symbols_to_bytes(token);
    if (!bytes) continue;
    if (bytes->size() == 1) bytes_[static_cast<unsigned char>((*bytes)[0])] = id;
    if (options_.ignore_merges) byte_words_.emplace(*bytes, id);
  }
}

void Bpe::index_fallback() {
  fallback_.fill(kNoId);
  for (unsigned byte = 0; byte < 256; ++byte) {
    fallback_[byte] = vocabulary_.id(fmt::format("<0x{:02X}>", byte)).value_or(kNoId);
  }
}

void Bpe::index_byte_lengths() {
  if (unit_ == WordUnit::kCharacters) return;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool occurs = byte != 0xC0 && byte != 0xC1 && byte < 0xF5;  // in UTF-8
    if (occurs && bytes_[byte] == kNoId) return;
  }
  const auto limit = static_cast<TokenId>(2 * vocabulary_.size() + 1);
  if (vocabulary_.max_id() > limit) return;
  byte_lengths_.assign(static_cast<std::size_t>(vocabulary_.max_id()) + 1, 0);
  for (const auto& [token, id] : vocabulary_.entries()) {
    if (const auto bytes = symbols_to_bytes(token)) {
      byte_lengths_[static_cast<std::size_t>(id)] = static_cast<std::uint32_t>(bytes->size());
    }
  }
}

void Bpe::find_anchor(const Merges& merges) {
  if (unit_ == WordUnit::kBytes || options_.ignore_merges || !options_.prefix.empty() ||
      !options_.suffix.empty() || !vocabulary_.id(kWordMark)) {
    return;
  }
  // A token that stands for other text than its own (an unknown character, a lone byte) must not
  // take part in merges, or the strings below would not tell what they join.
  const auto is_stand_in = [&](const std::string& token) {
    if (options_.has_unk && token == options_.unk_token) return true;
    const auto id = vocabulary_.id(token);
    return options_.byte_fallback && id &&
           std::find(fallback_.begin(), fallback_.end(), *id) != fallback_.end();
  };
  for (const auto& [left, right] : merges) {
    if (left.empty() || right.empty()) return;
    const bool angle = left.starts_with('<') || right.starts_with('<');
    if (left == options_.unk_token || right == options_.unk_token ||
        (angle && (is_stand_in(left) || is_stand_in(right)))) {
      return;
    }
    if (right.starts_with(kWordMark)) {
      joins_anchor_[static_cast<unsigned char>(left.back())] = true;
    }
  }
  anchor_ = kWordMark;
}

}  // namespace aquatint::text
