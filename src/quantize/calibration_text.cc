#include "quantize/calibration_text.h"

#include <algorithm>
#include <span>

#include "base/error.h"
#include "formats/text_data.h"
#include "formats/wikitext.h"
#include "text/unicode.h"

namespace aquatint {
namespace {

std::vector<std::string> read_wikitext(const std::filesystem::path& file) {
  std::vector<std::string> texts;
  for (TextDocument& document : load_wikitext_pages(file).documents) {
    texts.push_back(std::move(document.text));
  }
  return texts;
}

// What the task's prompt and its last word make together.
std::vector<std::string> read_lambada(const std::filesystem::path& file) {
  return read_jsonl_strings(file, "text");
}

// Says how to make something readable of a file that is known to be none.
void refuse_containers(const std::filesystem::path& file) {
  const std::string ending = file.extension().string(), name = file.string();
  if (ending == ".parquet") {
    raise(ErrorKind::kUnsupported,
          "'{}': Parquet is not read; in Python, pandas.read_parquet('{}').to_json('{}', "
          "orient='records', lines=True) makes JSON lines of it",
          name, name, std::filesystem::path(file).replace_extension(".jsonl").string());
  }
  for (const auto& [packed, program] :
       {std::pair{".gz", "gunzip"}, {".zst", "unzstd"}, {".xz", "unxz"}, {".bz2", "bunzip2"}}) {
    if (ending != packed) continue;
    raise(ErrorKind::kUnsupported, "'{}': compressed files are not read; {} unpacks it", name,
          program);
  }
}

void check_utf8(std::string_view text, const std::filesystem::path& file) {
  if (text::is_valid_utf8(text)) return;
  std::size_t at = 0;
  for (auto unit = text::utf8_unit_at(text, at); unit.valid; unit = text::utf8_unit_at(text, at)) {
    at += unit.size;
  }
  raise(ErrorKind::kCorrupt, "'{}': byte {} is not UTF-8 text", file.string(), at);
}

}  // namespace

const std::vector<CalibrationSet>& calibration_sets() {
  static const std::vector<CalibrationSet> kSets = {
      {"wikitext", "pages of WikiText-2's test set, detokenized", "wikitext.jsonl", read_wikitext},
      {"lambada_openai", "passages of LAMBADA's test set, last words included",
       "lambada_openai.jsonl", read_lambada},
  };
  return kSets;
}

const CalibrationSet* find_calibration_set(std::string_view name) {
  const auto& sets = calibration_sets();
  const auto found = std::find_if(sets.begin(), sets.end(),
                                  [&](const CalibrationSet& set) { return name == set.name; });
  return found == sets.end() ? nullptr : &*found;
}

const CalibrationSet* calibration_set_of_file(const std::filesystem::path& file) {
  const auto& sets = calibration_sets();
  const auto found = std::find_if(sets.begin(), sets.end(), [&](const CalibrationSet& set) {
    return file.filename() == set.data_file;
  });
  return found == sets.end() ? nullptr : &*found;
}

std::vector<std::string> read_calibration_file(const std::filesystem::path& file,
                                               const std::string& key) {
  refuse_containers(file);
  if (file.extension() != ".jsonl" && file.extension() != ".json") {
    std::string text = std::move(read_text_data(file).documents.front().text);
    check_utf8(text, file);
    return {std::move(text)};
  }
  if (!key.empty()) return read_jsonl_strings(file, key);
  static constexpr std::string_view kKeys[] = {"page", "text"};
  return read_jsonl_strings(file, std::span<const std::string_view>(kKeys));
}

}  // namespace aquatint
