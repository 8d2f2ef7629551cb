// The post-processor of tokenizer.json: special tokens around the text, and the trimming of blanks
// from the offsets of byte-level tokens.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/vocabulary.h"

namespace aquatint::text {

class PostProcessor {
 public:
  // One item of the finished sequence: a fixed id, or (nullopt) the text's tokens.
  using Item = std::optional<TokenId>;

  // From the "post_processor" member; null adds nothing. Error kUnsupported for an unknown type.
  static PostProcessor parse(const nlohmann::json& spec, const std::string& where);
  // What transformers' Llama tokenizers use whatever the file says: bos, text, eos.
  static PostProcessor around(std::optional<TokenId> before, std::optional<TokenId> after);

  // The sequence with the special tokens; without them only the texts remain.
  const std::vector<Item>& items() const { return items_; }
  // For every trimming step, whether it expects a blank that a pre-tokenizer put before the text.
  const std::vector<bool>& trims() const { return trims_; }

 private:
  void parse_into(const nlohmann::json& spec, const std::string& where);
  void parse_template(const nlohmann::json& spec, const std::string& where);

  std::vector<Item> items_{std::nullopt};
  std::vector<bool> trims_;
};

// Blanks at both ends of a token as its string has them, a byte-level blank included, in
// characters.
struct TokenBlanks {
  std::uint32_t leading = 0, trailing = 0;
};
TokenBlanks count_blanks(std::string_view token);

// Takes the token's blanks off its byte range [begin, end) of `text`. A single one at the very
// start is kept when a pre-tokenizer may have added it.
void trim_offsets(std::string_view text, TokenBlanks blanks, bool is_first, bool prefix_space,
                  std::pair<std::size_t, std::size_t>& offsets);

}  // namespace aquatint::text
