#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "text/unicode_tables.h"

namespace aquatint::text {
namespace {

bool in_ranges(std::span<const CodePointRange> ranges, char32_t code_point) {
  const auto it = std::upper_bound(
      ranges.begin(), ranges.end(), code_point,
      [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return it != ranges.begin() && code_point <= std::prev(it)->last;
}

utf8proc_category_t category(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

CharClass compute_char_class(char32_t code_point) {
  if (is_white_space(code_point)) return CharClass::kSpace;
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    default:
      if (in_ranges(kRecentLetters, code_point)) return CharClass::kLetter;
      if (in_ranges(kRecentNumbers, code_point)) return CharClass::kNumber;
      return CharClass::kOther;
  }
}

// Classes of the basic multilingual plane, where nearly all text is.
constexpr char32_t kTableSize = 0x10000;
std::vector<CharClass> make_class_table() {
  std::vector<CharClass> table(kTableSize);
  for (char32_t c = 0; c < kTableSize; ++c) table[c] = compute_char_class(c);
  return table;
}

}  // namespace

DecodedChar decode_utf8_before(const char* begin, const char* end) {
  const char* p = end - 1;
  while (p > begin && (static_cast<unsigned char>(*p) & 0xC0) == 0x80) --p;
  return decode_utf8(p);
}

void append_utf8(char32_t c, std::string& out) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::u32string utf8_to_code_points(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const DecodedChar c = decode_utf8(text.data() + i);
    out.push_back(c.code_point);
    i += c.size;
  }
  return out;
}

Utf8Unit utf8_unit_at(std::string_view bytes, std::size_t pos) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[pos + i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return {1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {1, false, false};
  const std::uint32_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte has a narrower range after some leads (no overlong forms, surrogates, >
  // U+10FFFF).
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::uint32_t i = 1; i < size; ++i) {
    if (pos + i >= bytes.size()) return {i, false, true};
    const unsigned byte = at(i);
    if (byte < (i == 1 ? low : 0x80) || byte > (i == 1 ? high : 0xBF)) return {i, false, false};
  }
  return {size, true, false};
}

bool is_valid_utf8(std::string_view bytes) {
  std::size_t i = 0;
  while (i < bytes.size()) {
    if (i + 8 <= bytes.size()) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data() + i, 8);
      if ((word & 0x8080808080808080u) == 0) {
        i += 8;
        continue;
      }
    }
    const Utf8Unit unit = utf8_unit_at(bytes, i);
    if (!unit.valid) return false;
    i += unit.size;
  }
  return true;
}

void append_lossy_utf8(std::string_view bytes, std::string& out) {
  for (std::size_t i = 0; i < bytes.size();) {
    const Utf8Unit unit = utf8_unit_at(bytes, i);
    out += unit.valid ? bytes.substr(i, unit.size) : kReplacementCharacter;
    i += unit.size;
  }
}

CharClass char_class(char32_t code_point) {
  static const std::vector<CharClass> table = make_class_table();
  return code_point < kTableSize ? table[code_point] : compute_char_class(code_point);
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(char32_t code_point) {
  return char_class(code_point) == CharClass::kNumber || in_ranges(kNewestNumbers, code_point);
}

bool is_word(char32_t code_point) {
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return char_class(code_point) == CharClass::kLetter || code_point == 0x200C ||
             code_point == 0x200D || in_ranges(kRecentNumbers, code_point) ||
             in_ranges(kRecentMarks, code_point) || in_ranges(kAlphabeticSymbols, code_point);
  }
}

bool is_combining_mark(char32_t code_point) {
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return !in_ranges(kMarksAfterUnicode9, code_point);
    default:
      return code_point == 0x1CF2 || code_point == 0x1CF3;  // letters since Unicode 12
  }
}

void append_lower(char32_t code_point, std::u32string& out) {
  if (code_point == 0x130) {  // the one lower-case mapping to two characters
    out += U"i\u0307";
    return;
  }
  for (const CaseRange& range : kRecentLowerCase) {
    if (code_point >= range.first && code_point <= range.last) {
      out.push_back(static_cast<char32_t>(static_cast<std::int32_t>(code_point) + range.delta));
      return;
    }
  }
  out.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point))));
}

std::span<const CodePointRange> recent_letters() {
  return kRecentLetters;
}
std::span<const CodePointRange> recent_numbers() {
  return kRecentNumbers;
}
std::span<const CodePointRange> recent_marks() {
  return kRecentMarks;
}

}  // namespace aquatint::text
