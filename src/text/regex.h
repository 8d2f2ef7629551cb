// Regular expressions of tokenizer.json (Oniguruma's Ruby syntax with Unicode classes) on PCRE2.
// The pattern is translated so that both engines mean the same; what cannot be translated is an
// error.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint::text {

// PCRE2 form of an Oniguruma pattern. Error kUnsupported, starting with `where`, names a construct
// that has no equivalent.
std::string translate_pattern(std::string_view pattern, const std::string& where);

// Part of a text: a match, or what lies between two.
struct MatchPart {
  std::size_t begin, end;
  bool is_match;
};

class Regex {
 public:
  // Error kUnsupported or kCorrupt, starting with `where`.
  Regex(std::string_view pattern, const std::string& where);
  // Matches exactly `text`.
  static Regex literal(std::string_view text, const std::string& where);

  // Covers valid UTF-8 `text` with parts in order, as the reference's find_matches does. Error
  // kUnsupported when the pattern backtracks beyond PCRE2's limits on this text.
  std::vector<MatchPart> find_all(std::string_view text) const;

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

}  // namespace aquatint::text
