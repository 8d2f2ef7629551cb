// Added tokens: strings that are recognized in the text before anything else happens to it (special
// tokens and what users add to a trained vocabulary), with their flags.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/normalizer.h"
#include "text/vocabulary.h"

namespace aquatint::text {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // looked for in the normalized text
  bool special = false;      // may be left out when decoding
  // What is looked for: the content, or what the normalizer makes of it.
  std::string pattern;
};

// A piece of text that is one added token, or that lies between them (token == nullptr).
struct AddedPiece {
  std::size_t begin, end;
  const AddedToken* token;
};

class AddedTokens {
 public:
  // From the "added_tokens" member. Ids are those of the vocabulary where it has the token; others
  // get the next free ones, as in the reference. Error kCorrupt when that id is taken.
  AddedTokens(const nlohmann::json& list, const Vocabulary& vocabulary,
              const Normalizer& normalizer, const std::string& where);
  AddedTokens(AddedTokens&&) = default;
  AddedTokens& operator=(AddedTokens&&) = default;

  // Cuts the input on tokens with normalized == false, or a normalized piece on the others; covers
  // the text (leftmost, longest match), but for white space that two tokens claim.
  std::vector<AddedPiece> split_input(std::string_view text) const;
  std::vector<AddedPiece> split_normalized(std::string_view text) const;

  const AddedToken* find(TokenId id) const;
  std::optional<TokenId> id(std::string_view content) const;
  bool is_special_content(std::string_view content) const;
  // -1 when there are none.
  TokenId max_id() const;

 private:
  // Patterns in a trie; `token` is an index into tokens_ or -1.
  struct Node {
    std::vector<std::pair<unsigned char, std::uint32_t>> children;
    std::int32_t token = -1;
  };
  struct Matcher {
    std::vector<Node> nodes{Node{}};
    std::vector<bool> first_bytes = std::vector<bool>(256, false);
    bool empty = true;
    void insert(std::string_view pattern, std::int32_t token);
    // Index of the longest pattern at `pos`, or -1; sets its end.
    std::int32_t longest(std::string_view text, std::size_t pos, std::size_t& end) const;
  };

  void add(AddedToken token, const Vocabulary& vocabulary, TokenId& next_id,
           const std::string& where);
  std::vector<AddedPiece> split(std::string_view text, const Matcher& matcher) const;

  std::vector<AddedToken> tokens_;  // fixed once built
  std::unordered_map<TokenId, std::size_t> by_id_;
  std::unordered_map<std::string, TokenId> ids_;
  std::unordered_set<std::string> special_;
  Matcher input_, normalized_;
};

}  // namespace aquatint::text
