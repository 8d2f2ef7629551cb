// The byte-pair encoding model of tokenizer.json: turns one word into token ids by joining the
// neighbours of lowest merge rank until none join.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/merge_table.h"
#include "text/vocabulary.h"
#include "text/word_cache.h"

namespace aquatint::text {

// A token and the bytes [begin, end) of the word it stands for.
struct Symbol {
  TokenId id;
  std::uint32_t begin, end;
};

// What one thread needs while it encodes; reused from word to word.
struct BpeScratch {
  WordCache cache;
  std::vector<Symbol> symbols;
  std::vector<std::uint32_t> ranks;           // short words
  std::vector<std::uint32_t> next, previous;  // long words
  std::vector<std::uint64_t> heap;
  std::vector<TokenId> ids;
};

// What words are made of: characters, or raw bytes that the vocabulary writes as byte symbols.
enum class WordUnit { kCharacters, kBytes };

class Bpe {
 public:
  // From the "model" member. Errors kCorrupt (an inconsistent vocabulary or merge) and
  // kUnsupported.
  static Bpe parse(const nlohmann::json& spec, WordUnit unit, const std::string& where);

  const Vocabulary& vocabulary() const { return vocabulary_; }

  // Appends the ids of a word. Words of any length take O(n log n). Error kCorrupt when a character
  // needs an unknown-token that the vocabulary lacks.
  void encode(std::string_view word, BpeScratch& scratch, std::vector<TokenId>& ids) const;
  // The same with the bytes of each token, in scratch.symbols.
  void encode_symbols(std::string_view word, BpeScratch& scratch) const;

 private:
  struct Options {
    std::string unk_token;
    bool has_unk = false;
    std::string prefix, suffix;
    bool fuse_unk = false, byte_fallback = false, ignore_merges = false;
  };

  Bpe(Vocabulary vocabulary, MergeTable merges, Options options, WordUnit unit);
  static Options parse_options(const nlohmann::json& spec, const std::string& where);
  void index_characters();
  void index_bytes();
  void index_fallback();
  void index_byte_lengths();

  std::optional<TokenId> whole_word(std::string_view word) const;
  TokenId unknown_id() const;
  // The character as a token, with the prefix and suffix its place in the word calls for.
  TokenId character_id(std::string_view character, bool is_first, bool is_last) const;
  void split_bytes(std::string_view word, std::vector<Symbol>& symbols) const;
  void split_characters(std::string_view word, std::vector<Symbol>& symbols) const;
  // Stands in for a character that is no token: its bytes as tokens, an unknown-token, or nothing.
  void append_missing(std::string_view character, Symbol place, std::optional<Symbol>& unknown,
                      std::vector<Symbol>& symbols) const;

  void encode_part(std::string_view part, BpeScratch& scratch, std::vector<TokenId>& ids) const;
  void merge(std::string_view word, BpeScratch& scratch) const;
  void merge_short(BpeScratch& scratch) const;
  void merge_long(BpeScratch& scratch) const;

  using Merges = std::vector<std::pair<std::string, std::string>>;
  static Merges parse_merges(const nlohmann::json& spec, const std::string& where);
  static MergeTable build_merges(const Merges& merges, const Vocabulary& vocabulary,
                                 const std::string& prefix, const std::string& where);
  // Words may be cut before the anchor character, wherever the byte before it is not in
  // joins_anchor_, without changing a single id: no merge reaches across. Empty when the merges do
  // not allow it.
  void find_anchor(const Merges& merges);
  std::size_t next_cut(std::string_view word, std::size_t begin) const;

  static constexpr TokenId kNoId = -1;
  Vocabulary vocabulary_;
  MergeTable merges_;
  Options options_;
  WordUnit unit_;
  std::vector<TokenId> characters_;                      // by code point below 0x10000
  std::array<TokenId, 256> bytes_{};                     // tokens of single byte symbols
  std::array<TokenId, 256> fallback_{};                  // tokens <0xHH>
  std::unordered_map<std::string, TokenId> byte_words_;  // raw bytes of every byte-symbol token
  // Bytes each id stands for, when words are bytes and every byte of UTF-8 is a token: then ids
  // alone tell where tokens begin. Otherwise empty.
  std::vector<std::uint32_t> byte_lengths_;
  std::string anchor_;
  std::array<bool, 256> joins_anchor_{};
};

}  // namespace aquatint::text
