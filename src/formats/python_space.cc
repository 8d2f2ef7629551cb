#include "formats/python_space.h"

#include <algorithm>

namespace aquatint {
namespace {

// U+0009–000D, 001C–0020.
bool is_ascii_space(unsigned char c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
}

// U+2000–200A, 2028, 2029, 202F, 205F: E2 80 xx and E2 81 9F.
bool is_general_punctuation_space(unsigned char second, unsigned char third) {
  if (second == 0x81) return third == 0x9F;
  return second == 0x80 &&
         ((third >= 0x80 && third <= 0x8A) || third == 0xA8 || third == 0xA9 || third == 0xAF);
}

}  // namespace

std::size_t python_space_at(std::string_view text, std::size_t position) {
  const auto byte = [&](std::size_t i) {
    return position + i < text.size() ? static_cast<unsigned char>(text[position + i])
                                      : static_cast<unsigned char>(0);
  };
  if (position >= text.size()) return 0;
  const unsigned char first = byte(0);
  if (first < 0x80) return is_ascii_space(first) ? 1 : 0;
  if (first == 0xC2) return byte(1) == 0x85 || byte(1) == 0xA0 ? 2 : 0;  // U+0085, U+00A0
  if (first == 0xE1) return byte(1) == 0x9A && byte(2) == 0x80 ? 3 : 0;  // U+1680
  if (first == 0xE2) return is_general_punctuation_space(byte(1), byte(2)) ? 3 : 0;
  if (first == 0xE3) return byte(1) == 0x80 && byte(2) == 0x80 ? 3 : 0;  // U+3000
  return 0;
}

std::string_view python_strip(std::string_view text) {
  while (const std::size_t n = python_space_at(text, 0)) text.remove_prefix(n);
  while (!text.empty()) {
    std::size_t n = 0;
    for (std::size_t length = 1; length <= std::min<std::size_t>(3, text.size()); ++length) {
      if (python_space_at(text, text.size() - length) == length) n = length;
    }
    if (n == 0) break;
    text.remove_suffix(n);
  }
  return text;
}

}  // namespace aquatint
