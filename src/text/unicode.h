// Unicode for tokenization: UTF-8, and the few character properties tokenizer.json components
// depend on. Properties are those of Unicode 16, which the reference tokenizers use; where the
// installed utf8proc is older, a table of later assignments completes it, so that results do not
// depend on the distribution.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace aquatint::text {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

struct CodePointRange {
  char32_t first, last;  // both inclusive
};

struct DecodedChar {
  char32_t code_point;
  std::uint32_t size;  // bytes
};

// The character at `p`, which must begin a valid UTF-8 sequence.
inline DecodedChar decode_utf8(const char* p) {
  const auto byte = [p](int i) { return static_cast<char32_t>(static_cast<unsigned char>(p[i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {((lead & 0x1F) << 6) | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {((lead & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F), 3};
  return {
      ((lead & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) | (byte(3) & 0x3F),
      4};
}
// The character that ends just before `end`; `begin` < `end`, valid UTF-8.
DecodedChar decode_utf8_before(const char* begin, const char* end);
void append_utf8(char32_t code_point, std::string& out);
std::u32string utf8_to_code_points(std::string_view text);

// What stands at `pos` of arbitrary bytes: a character, or the maximal subpart of an ill-formed one
// (Unicode 3.9, the unit that is replaced by one U+FFFD). `truncated`: more bytes could make it
// valid.
struct Utf8Unit {
  std::uint32_t size;
  bool valid;
  bool truncated;
};
Utf8Unit utf8_unit_at(std::string_view bytes, std::size_t pos);
bool is_valid_utf8(std::string_view bytes);
// Appends `bytes` with every ill-formed unit replaced by U+FFFD.
void append_lossy_utf8(std::string_view bytes, std::string& out);

// The partition that the word patterns of byte-level tokenizers see: \p{L}, \p{N}, White_Space, the
// rest.
enum class CharClass : std::uint8_t { kOther, kLetter, kNumber, kSpace };
CharClass char_class(char32_t code_point);

bool is_white_space(char32_t code_point);
// General category N*.
bool is_numeric(char32_t code_point);
// Member of \w as Unicode TR18 defines it.
bool is_word(char32_t code_point);
// General category M* as of Unicode 9, the version the reference's StripAccents has.
bool is_combining_mark(char32_t code_point);
// Appends the full lower-case mapping.
void append_lower(char32_t code_point, std::u32string& out);

// Letters, numbers and marks assigned in Unicode 15 and 16, for regular expression engines with
// older data.
std::span<const CodePointRange> recent_letters();
std::span<const CodePointRange> recent_numbers();
std::span<const CodePointRange> recent_marks();

}  // namespace aquatint::text
