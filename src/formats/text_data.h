// Texts to be evaluated: plain files, and JSON lines with one document each. A document keeps the
// counts that per-word and per-byte perplexities divide by, which may be those of another form of
// the text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint {

struct TextDocument {
  std::string text;        // what is tokenized and scored
  std::int64_t words = 0;  // count_words of the original form
  std::int64_t bytes = 0;  // UTF-8 bytes of the original form
};

struct TextData {
  std::string name;  // of the file or the task
  std::vector<TextDocument> documents;
};

// A document that is its own original.
TextDocument make_document(std::string text);

// Number of parts between runs of white space as Python's re.split(r"\s+", text) counts them: empty
// parts before leading and behind trailing white space count too.
std::int64_t count_words(std::string_view text);

// A file to evaluate: with the ending .jsonl its lines' "page" or "text", otherwise one document,
// byte for byte. Error kNotFound, kIo or kCorrupt (an empty file, a line that is not such an
// object, by its number).
TextData read_text_data(const std::filesystem::path& path);

// The string at `key`, or the first of some keys that is there, of the JSON object on every line
// that is not empty; errors as above.
std::vector<std::string> read_jsonl_strings(const std::filesystem::path& path,
                                            std::string_view key);
std::vector<std::string> read_jsonl_strings(const std::filesystem::path& path,
                                            std::span<const std::string_view> keys);

}  // namespace aquatint
