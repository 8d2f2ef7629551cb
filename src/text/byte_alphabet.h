// The printable stand-ins that byte-level tokenizers write for raw bytes in their vocabularies
// (GPT-2's table): printable Latin-1 stands for itself, every other byte for the next character
// from U+0100 on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aquatint::text {

char32_t byte_to_symbol(std::uint8_t byte);
std::optional<std::uint8_t> symbol_to_byte(char32_t symbol);
// The bytes a vocabulary entry (valid UTF-8) stands for; nothing if it holds another character.
std::optional<std::string> symbols_to_bytes(std::string_view token);

}  // namespace aquatint::text
