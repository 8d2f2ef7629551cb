// Oniguruma (Ruby syntax, Unicode) to PCRE2. The engines agree on most of what tokenizers use; they
// differ in which characters \s, \w, \h and \p{L} of a newer Unicode hold, in {,n}, in (?m), and in
// what only one of them has.
#include <fmt/format.h>

#include "base/error.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

constexpr std::string_view kSpaceSet =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029})"
    R"(\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpaceSet =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kHexSet = "0-9a-fA-F";

void append_ranges(std::span<const CodePointRange> ranges, std::string& out) {
  for (const CodePointRange& range : ranges) {
    out += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", static_cast<std::uint32_t>(range.first),
                       static_cast<std::uint32_t>(range.last));
  }
}

// Contents of a bracket expression for the property, completed by what PCRE2's Unicode may lack.
std::string property_set(std::string_view name) {
  std::string out = fmt::format("\\p{{{}}}", name);
  if (name == "L" || name == "Letter") append_ranges(recent_letters(), out);
  if (name == "N" || name == "Number") append_ranges(recent_numbers(), out);
  if (name == "M" || name == "Mark") append_ranges(recent_marks(), out);
  return out;
}

// Oniguruma's \w: alphabetic, marks, decimal numbers, connectors, and the Latin-1 numbers.
std::string word_set() {
  std::string out = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
  out += R"(\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
  append_ranges(recent_letters(), out);
  append_ranges(recent_numbers(), out);
  append_ranges(recent_marks(), out);
  return out;
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where)
      : pattern_(pattern), where_(where) {}

  std::string run() {
    while (pos_ < pattern_.size()) {
      switch (pattern_[pos_]) {
        case '\\':
          escape(false);
          break;
        case '[':
          bracket();
          break;
        case '(':
          group();
          break;
        case '{':
          interval();
          break;
        default:
          out_.push_back(pattern_[pos_++]);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void unsupported(std::string_view construct) const {
    raise(ErrorKind::kUnsupported,
          "{}: regular expression '{}' uses {}, which this program does not handle", where_,
          pattern_, construct);
  }
  char peek(std::size_t ahead) const {
    return pos_ + ahead < pattern_.size() ? pattern_[pos_ + ahead] : '\0';
  }

  // A set of characters, given as the inside of a bracket expression.
  void put_set(std::string_view set, bool in_bracket) {
    out_ += in_bracket ? std::string(set) : fmt::format("[{}]", set);
  }
  void put_negated(std::string_view set, bool in_bracket, std::string_view name) {
    if (in_bracket) unsupported(fmt::format("{} inside brackets", name));
    out_ += fmt::format("[^{}]", set);
  }

  void escape(bool in_bracket) {
    const char c = peek(1);
    if (c == '\0') unsupported("a backslash at its end");
    pos_ += 2;
    switch (c) {
      case 'p':
        return property(in_bracket);
      case 's':
        return put_set(kSpaceSet, in_bracket);
      case 'S':
        return put_set(kNotSpaceSet, in_bracket);
      case 'w':
        return put_set(word_set(), in_bracket);
      case 'W':
        return put_negated(word_set(), in_bracket, "\\W");
      case 'h':
        return put_set(kHexSet, in_bracket);
      case 'H':
        return put_negated(kHexSet, in_bracket, "\\H");
      case 'v':
        out_ += "\\x{b}";
        return;
      case 'u':
        return unicode_escape();
      default:
        break;
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const std::string_view shared = in_bracket ? "aefnrtxdDPb" : "aefnrtxdDPbBAzZGRX";
    if (letter && shared.find(c) == std::string_view::npos) unsupported(fmt::format("\\{}", c));
    out_.push_back('\\');
    out_.push_back(c);
  }

  // \p{Name}, after the p.
  void property(bool in_bracket) {
    const std::size_t close = pattern_.find('}', pos_);
    if (peek(0) != '{' || close == std::string_view::npos) unsupported("\\p without braces");
    std::string_view name = pattern_.substr(pos_ + 1, close - pos_ - 1);
    pos_ = close + 1;
    if (!name.empty() && name[0] == '^') {
      out_ += fmt::format("\\P{{{}}}", name.substr(1));
    } else {
      put_set(property_set(name), in_bracket);
    }
  }

  // \uHHHH, after the u.
  void unicode_escape() {
    const std::string_view digits = pattern_.substr(std::min(pos_, pattern_.size()), 4);
    if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos) {
      unsupported("\\u without four hexadecimal digits");
    }
    out_ += fmt::format("\\x{{{}}}", digits);
    pos_ += 4;
  }

  void bracket() {
    out_.push_back('[');
    ++pos_;
    if (peek(0) == '^') {
      out_.push_back('^');
      ++pos_;
    }
    for (bool first = true;; first = false) {
      if (pos_ >= pattern_.size()) unsupported("an unclosed bracket");
      const char c = pattern_[pos_];
      if (c == '\\') {
        escape(true);
      } else if (c == '[') {
        unsupported("a bracket inside brackets");
      } else if (c == '&' && peek(1) == '&') {
        unsupported("an intersection of sets");
      } else {
        out_.push_back(c);
        ++pos_;
        if (c == ']' && !first) return;
      }
    }
  }

  void group() {
    out_.push_back('(');
    ++pos_;
    if (peek(0) == '*') unsupported("a '(*' verb");
    if (peek(0) != '?') return;
    if (std::string_view(":=!>#").find(peek(1)) != std::string_view::npos || peek(1) == '<') {
      out_ += pattern_.substr(pos_, 2);
      pos_ += 2;
      return;
    }
    out_.push_back('?');
    ++pos_;
    // Option letters up to ')' or ':'. Ruby's m lets the dot match newlines, which PCRE2 calls s.
    for (;; ++pos_) {
      const char c = peek(0);
      if (c == 'i' || c == 'x' || c == '-') {
        out_.push_back(c);
      } else if (c == 'm') {
        out_.push_back('s');
      } else if (c == ')' || c == ':') {
        return;
      } else {
        unsupported(fmt::format("the group '(?{}'", c));
      }
    }
  }

  void interval() {
    std::size_t end = pos_ + 1;
    while (end < pattern_.size() &&
           ((pattern_[end] >= '0' && pattern_[end] <= '9') || pattern_[end] == ',')) {
      ++end;
    }
    const std::string_view inside = pattern_.substr(pos_ + 1, end - pos_ - 1);
    const bool closed = end < pattern_.size() && pattern_[end] == '}';
    if (!closed || inside.empty() || inside == ",") {
      out_ += "\\{";  // a literal brace
      ++pos_;
      return;
    }
    out_ += inside[0] == ',' ? fmt::format("{{0{}}}", inside) : fmt::format("{{{}}}", inside);
    pos_ = end + 1;
    // Ruby reads these as a quantified quantifier, PCRE2 as possessive or lazy.
    if (peek(0) == '+') unsupported("'+' after an interval");
    if (peek(0) == '?' && inside.find(',') == std::string_view::npos) {
      unsupported("'?' after a fixed interval");
    }
  }

  std::string_view pattern_;
  const std::string& where_;
  std::size_t pos_ = 0;
  std::string out_;
};

}  // namespace

std::string translate_pattern(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

}  // namespace aquatint::text
