#include "formats/text_data.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json_text.h"
#include "formats/python_space.h"

namespace aquatint {
namespace {

std::string read_nonempty(const std::filesystem::path& path) {
  std::string text = read_text_file(path);
  if (text.empty()) raise(ErrorKind::kCorrupt, "'{}' is empty", path.string());
  return text;
}

// The value on a line; error kCorrupt names the line of the file, where the parser knows only this
// one.
nlohmann::json parse_line(std::string_view line, const std::string& file, std::int64_t number) {
  try {
    return parse_json(line, file);
  } catch (const Error& error) {
    static constexpr std::string_view kParsers = "': line 1, ";
    std::string message = error.what();
    if (const std::size_t at = message.find(kParsers); at != std::string::npos) {
      message.replace(at, kParsers.size(), fmt::format("': line {}, ", number));
    }
    throw Error(error.kind(), message);
  }
}

// The string at the first of `keys` that the object on the line has.
std::string string_of_line(std::string_view line, const std::string& file, std::int64_t number,
                           std::span<const std::string_view> keys) {
  const nlohmann::json value = parse_line(line, file, number);
  if (!value.is_object()) {
    raise(ErrorKind::kCorrupt, "'{}': line {}: {} instead of an object", file, number,
          value.type_name());
  }
  std::string wanted;
  for (const std::string_view key : keys) {
    const auto found = value.find(std::string(key));
    if (found != value.end() && found->is_string()) return found->get<std::string>();
    if (found != value.end()) {
      raise(ErrorKind::kCorrupt, "'{}': line {}: '{}' is no string but {}", file, number, key,
            found->type_name());
    }
    wanted += fmt::format("{}'{}'", wanted.empty() ? "" : " or ", key);
  }
  raise(ErrorKind::kCorrupt, "'{}': line {}: an object without {}", file, number, wanted);
}

}  // namespace

TextDocument make_document(std::string text) {
  TextDocument document;
  document.words = count_words(text);
  document.bytes = static_cast<std::int64_t>(text.size());
  document.text = std::move(text);
  return document;
}

std::int64_t count_words(std::string_view text) {
  std::int64_t parts = 1;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t n = python_space_at(text, i);
    if (n == 0) {
      ++i;
      continue;
    }
    ++parts;
    for (; n > 0; n = python_space_at(text, i)) i += n;
  }
  return parts;
}

TextData read_text_data(const std::filesystem::path& path) {
  static constexpr std::string_view kKeys[] = {"page", "text"};
  TextData data{path.filename().string(), {}};
  if (path.extension() == ".jsonl") {
    for (std::string& text : read_jsonl_strings(path, kKeys)) {
      data.documents.push_back(make_document(std::move(text)));
    }
  } else {
    data.documents.push_back(make_document(read_nonempty(path)));
  }
  return data;
}

std::vector<std::string> read_jsonl_strings(const std::filesystem::path& path,
                                            std::string_view key) {
  return read_jsonl_strings(path, std::span(&key, 1));
}

std::vector<std::string> read_jsonl_strings(const std::filesystem::path& path,
                                            std::span<const std::string_view> keys) {
  const std::string text = read_nonempty(path);
  std::vector<std::string> strings;
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (python_strip(line).empty()) continue;
    strings.push_back(string_of_line(line, path.string(), number, keys));
  }
  if (strings.empty()) raise(ErrorKind::kCorrupt, "'{}' has no documents", path.string());
  return strings;
}

}  // namespace aquatint
