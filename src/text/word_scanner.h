// Hand-written equivalents of the three regular expressions that nearly all byte-level tokenizers
// split words with (specs: GPT-2/GPT-NeoX, Llama-3, Qwen2). Each covers a text completely: what
// follows one match is the next, so a scanner only says where a match that begins here ends.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace aquatint::text {

enum class WordPattern { kGpt2, kLlama3, kQwen2 };

inline constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The scanner for a regular expression, if it is one of the three.
std::optional<WordPattern> known_word_pattern(std::string_view regex);

// End of the match of `pattern` that begins at `pos` < text.size(); `text` is valid UTF-8.
std::size_t word_end(WordPattern pattern, std::string_view text, std::size_t pos);

}  // namespace aquatint::text
