#include "formats/wikitext.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "formats/python_space.h"
#include "formats/text_data.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

nlohmann::json golden() {
  return nlohmann::json::parse(
      read_text_file(testing::source_dir() / "tests/golden/wikitext_cases.json"));
}

std::uint32_t crc32(const std::string& text) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

TEST(Wikitext, DetokenizerAndWordCountAgreeWithPython) {
  const nlohmann::json cases = golden()["cases"];
  ASSERT_GT(cases.size(), 300u);
  for (const auto& row : cases) {
    const auto page = row["page"].get<std::string>();
    EXPECT_EQ(detokenize_wikitext(page), row["text"].get<std::string>()) << row["page"];
    EXPECT_EQ(count_words(page), row["words"].get<std::int64_t>()) << row["page"];
  }
}

TEST(Wikitext, EveryPageOfTheTestSetAgreesWithPython) {
  AQUATINT_SHARED_PATH(file, "data/wikitext.jsonl");
  const nlohmann::json rows = golden()["pages"];
  const auto pages = read_jsonl_strings(file, "page");
  ASSERT_EQ(pages.size(), rows.size());
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const std::string text = detokenize_wikitext(pages[i]);
    EXPECT_EQ(count_words(pages[i]), rows[i]["words"].get<std::int64_t>());
    EXPECT_EQ(pages[i].size(), rows[i]["bytes"].get<std::size_t>());
    EXPECT_EQ(text.size(), rows[i]["text_bytes"].get<std::size_t>());
    EXPECT_EQ(crc32(text), rows[i]["crc32"].get<std::uint32_t>()) << "page " << i;
  }
}

TEST(Wikitext, RowsAreLinesAndBlankLinesAreEmptyRows) {
  EXPECT_EQ(join_wikitext_rows(" \n = A = \n \n text . \n"), "\n\n = A = \n\n\n\n\n text . \n");
  EXPECT_EQ(join_wikitext_rows(""), "");
  EXPECT_EQ(join_wikitext_rows(" \n"), "");
  EXPECT_EQ(join_wikitext_rows(" a \n b"), " a \n\n\n b");
}

TEST(PythonSpace, StripsWhatPythonStrips) {
  EXPECT_EQ(python_strip(" \t\xC2\xA0 a b \xE2\x80\x89\n"), "a b");
  EXPECT_EQ(python_strip("\xE3\x80\x80"), "");
  EXPECT_EQ(python_strip("\xE2\x80\x8B"), "\xE2\x80\x8B");  // zero-width space is none
  EXPECT_EQ(python_strip(""), "");
}

}  // namespace
}  // namespace aquatint
