#include "text/byte_alphabet.h"

#include <array>

#include "text/unicode.h"

namespace aquatint::text {
namespace {

constexpr bool is_printable(unsigned byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

struct Alphabet {
  std::array<char32_t, 256> symbols{};
  std::array<std::int16_t, 0x180> bytes{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.bytes) byte = -1;
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char32_t symbol = is_printable(byte) ? byte : next++;
    alphabet.symbols[byte] = symbol;
    alphabet.bytes[symbol] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

char32_t byte_to_symbol(std::uint8_t byte) {
  return kAlphabet.symbols[byte];
}

std::optional<std::uint8_t> symbol_to_byte(char32_t symbol) {
  if (symbol >= kAlphabet.bytes.size() || kAlphabet.bytes[symbol] < 0) return std::nullopt;
  return static_cast<std::uint8_t>(kAlphabet.bytes[symbol]);
}

std::optional<std::string> symbols_to_bytes(std::string_view token) {
  std::string bytes;
  for (std::size_t i = 0; i < token.size();) {
    const DecodedChar c = decode_utf8(token.data() + i);
    const auto byte = symbol_to_byte(c.code_point);
    if (!byte) return std::nullopt;
    bytes.push_back(static_cast<char>(*byte));
    i += c.size;
  }
  return bytes;
}

}  // namespace aquatint::text
