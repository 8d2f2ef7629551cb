#include "text/word_scanner.h"

#include <array>
#include <cstdint>

#include "text/unicode.h"

namespace aquatint::text {
namespace {

constexpr CharClass ascii_class(unsigned char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return CharClass::kLetter;
  if (c >= '0' && c <= '9') return CharClass::kNumber;
  if (c == ' ' || (c >= 0x09 && c <= 0x0D)) return CharClass::kSpace;
  return CharClass::kOther;
}
constexpr std::array<CharClass, 128> make_ascii_table() {
  std::array<CharClass, 128> table{};
  for (unsigned char c = 0; c < 128; ++c) table[c] = ascii_class(c);
  return table;
}
constexpr std::array<CharClass, 128> kAsciiClass = make_ascii_table();

struct ClassifiedChar {
  CharClass char_class;
  std::uint32_t size;
};

// Walks one text. Positions are byte offsets.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : data_(text.data()), size_(text.size()) {}

  std::size_t gpt2(std::size_t pos) const {
    if (data_[pos] == '\'') {
      const std::size_t end = contraction(pos, false);
      if (end != pos) return end;
    }
    const std::size_t body = skip_space(pos);
    const ClassifiedChar c = at(body);
    if (c.char_class == CharClass::kSpace) return space_tail(pos);
    return run(body + c.size, c.char_class);
  }

  std::size_t llama3(std::size_t pos, int max_digits) const {
    if (data_[pos] == '\'') {
      const std::size_t end = contraction(pos, true);
      if (end != pos) return end;
    }
    const ClassifiedChar first = at(pos);
    const std::size_t second = pos + first.size;
    if (first.char_class == CharClass::kLetter) return run(second, CharClass::kLetter);
    // Any one character but a digit or line end may lead a word.
    if (first.char_class != CharClass::kNumber && !is_line_end(pos) && second < size_) {
      const ClassifiedChar next = at(second);
      if (next.char_class == CharClass::kLetter) {
        return run(second + next.size, CharClass::kLetter);
      }
    }
    if (first.char_class == CharClass::kNumber) return digits(second, max_digits - 1);
    const std::size_t body = skip_space(pos);
    const ClassifiedChar c = at(body);
    if (c.char_class == CharClass::kOther) {
      std::size_t end = run(body + c.size, CharClass::kOther);
      while (end < size_ && is_line_end(end)) ++end;
      return end;
    }
    return spaces_llama3(pos);
  }

 private:
  bool is_line_end(std::size_t pos) const { return data_[pos] == '\n' || data_[pos] == '\r'; }

  ClassifiedChar at(std::size_t pos) const {
    const auto byte = static_cast<unsigned char>(data_[pos]);
    if (byte < 0x80) return {kAsciiClass[byte], 1};
    const DecodedChar c = decode_utf8(data_ + pos);
    return {char_class(c.code_point), c.size};
  }

  // First position at or after `pos` that is not of the class.
  std::size_t run(std::size_t pos, CharClass wanted) const {
    while (pos < size_) {
      const ClassifiedChar c = at(pos);
      if (c.char_class != wanted) break;
      pos += c.size;
    }
    return pos;
  }

  // One blank that something follows is taken together with it.
  std::size_t skip_space(std::size_t pos) const {
    return data_[pos] == ' ' && pos + 1 < size_ ? pos + 1 : pos;
  }

  std::size_t digits(std::size_t pos, int more) const {
    for (; more > 0 && pos < size_; --more) {
      const ClassifiedChar c = at(pos);
      if (c.char_class != CharClass::kNumber) break;
      pos += c.size;
    }
    return pos;
  }

  // \s+(?!\S)|\s+ : white space before a word leaves its last character to the word.
  std::size_t space_tail(std::size_t pos) const {
    std::size_t last = pos;
    std::size_t end = pos;
    while (end < size_) {
      const ClassifiedChar c = at(end);
      if (c.char_class != CharClass::kSpace) break;
      last = end;
      end += c.size;
    }
    return end == size_ || last == pos ? end : last;
  }

  // \s*[\r\n]+|\s+(?!\S)|\s+ : up to the last line end of the run if it has one.
  std::size_t spaces_llama3(std::size_t pos) const {
    std::size_t after_line_end = 0;
    for (std::size_t end = pos; end < size_;) {
      const ClassifiedChar c = at(end);
      if (c.char_class != CharClass::kSpace) break;
      end += c.size;
      if (is_line_end(end - 1)) after_line_end = end;
    }
    return after_line_end != 0 ? after_line_end : space_tail(pos);
  }

  char lower(std::size_t pos, bool ignore_case) const {
    if (pos >= size_) return '\0';
    const char c = data_[pos];
    return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }

  // End of 's 't 're 've 'm 'll 'd after the apostrophe at `pos`; `pos` if there is none.
  std::size_t contraction(std::size_t pos, bool ignore_case) const {
    const char first = lower(pos + 1, ignore_case);
    const char second = lower(pos + 2, ignore_case);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return pos + 2;
    const bool two =
        ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
    if (two) return pos + 3;
    // Ignoring case, U+017F (long s) is an s.
    const bool long_s = ignore_case && first == '\xC5' && second == '\xBF';
    return long_s ? pos + 3 : pos;
  }

  const char* data_;
  std::size_t size_;
};

}  // namespace

std::optional<WordPattern> known_word_pattern(std::string_view regex) {
  if (regex == kGpt2Regex) return WordPattern::kGpt2;
  if (regex == kLlama3Regex) return WordPattern::kLlama3;
  if (regex == kQwen2Regex) return WordPattern::kQwen2;
  return std::nullopt;
}

std::size_t word_end(WordPattern pattern, std::string_view text, std::size_t pos) {
  const Scanner scanner(text);
  switch (pattern) {
    case WordPattern::kGpt2:
      return scanner.gpt2(pos);
    case WordPattern::kLlama3:
      return scanner.llama3(pos, 3);
    case WordPattern::kQwen2:
      return scanner.llama3(pos, 1);
  }
  return text.size();
}

}  // namespace aquatint::text
