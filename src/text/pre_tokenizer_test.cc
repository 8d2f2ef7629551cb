#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;

Strings scan(WordPattern pattern, std::string_view text) {
  Strings words;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = word_end(pattern, text, i);
    words.emplace_back(text.substr(i, end - i));
    i = end;
  }
  return words;
}

Strings match(const Regex& regex, std::string_view text) {
  Strings parts;
  for (const MatchPart& part : regex.find_all(text)) {
    parts.emplace_back(text.substr(part.begin, part.end - part.begin));
  }
  return parts;
}

Strings split(const json& spec, std::string_view text) {
  const PreTokenizer pre_tokenizer = PreTokenizer::parse(spec, "test");
  Words words{AlignedText::tracked(text, 0), {{0, text.size()}}};
  pre_tokenizer.apply(words);
  Strings out;
  for (const auto& range : words.ranges) out.emplace_back(words.text.view(range.begin, range.end));
  return out;
}

std::string random_text(std::mt19937& random) {
  static const std::u32string kAlphabet =
      U"aZé中ſK  \n\r\t\u0085\u00a0\u3000'''sStTmMdDlLrReEvV019½Ⅷ.!-_\u0301\u200d👍\U00031350";
  std::string text;
  const std::size_t length = std::uniform_int_distribution<std::size_t>(0, 24)(random);
  std::uniform_int_distribution<std::size_t> pick(0, kAlphabet.size() - 1);
  std::uniform_int_distribution<char32_t> any(1, 0x2FFFF);
  for (std::size_t i = 0; i < length; ++i) {
    char32_t c = random() % 8 == 0 ? any(random) : kAlphabet[pick(random)];
    if (c >= 0xD800 && c < 0xE000) c = 'x';
    append_utf8(c, text);
  }
  return text;
}

TEST(WordScanner, EqualsTheRegularExpressions) {
  const std::pair<WordPattern, std::string_view> patterns[] = {{WordPattern::kGpt2, kGpt2Regex},
                                                               {WordPattern::kLlama3, kLlama3Regex},
                                                               {WordPattern::kQwen2, kQwen2Regex}};
  std::mt19937 random(20240601);
  for (const auto& [pattern, source] : patterns) {
    ASSERT_EQ(known_word_pattern(source), pattern);
    const Regex regex(source, "test");
    for (int i = 0; i < 30000; ++i) {
      const std::string text = random_text(random);
      ASSERT_EQ(scan(pattern, text), match(regex, text)) << '[' << text << ']';
    }
  }
}

TEST(Regex, MeansWhatOnigurumaMeans) {
  const auto whole = [](const char* pattern, std::string_view text) {
    return match(Regex(pattern, "test"), text);
  };
  EXPECT_EQ(whole(R"(\s)", "a\u0085b\u180Ec"), (Strings{"a", "\u0085", "b\u180Ec"}));
  EXPECT_EQ(whole(R"([^\S]+)", "a \u0085b"), (Strings{"a", " \u0085", "b"}));
  EXPECT_EQ(whole(R"((?i:'s))", "'ſ'S"), (Strings{"'ſ", "'S"}));
  EXPECT_EQ(whole(R"(\p{L}+)", "a\U00031350."), (Strings{"a\U00031350", "."}));
  EXPECT_EQ(whole(R"(\h+)", "xfF0g"), (Strings{"x", "fF0", "g"}));
  EXPECT_EQ(whole(R"(a{,2})", "aaa"), (Strings{"aa", "a"}));
  EXPECT_EQ(whole(R"((?m:.)+)", "a\nb"), (Strings{"a\nb"}));
  EXPECT_EQ(whole("", "é"), (Strings{"", "é", ""}));
  for (const char* pattern : {"[a&&b]", "[a[b]]", R"(\p)", R"(\g<x>)", "a{1,2}+", "(?~a)", "(a",
                              "[a", "a\\", "(*UTF)a"}) {
    EXPECT_THROW(Regex(pattern, "test"), Error) << pattern;
  }
}

TEST(Regex, SurvivesLongMatches) {
  const std::string blanks(3'000'000, ' ');
  const Regex regex(R"(\s+(?!\S)|\s+)", "test");
  EXPECT_EQ(regex.find_all(blanks).size(), 1u);
  EXPECT_EQ(regex.find_all(blanks + "x").size(), 3u);
}

TEST(PreTokenizer, SplitsByEveryBehavior) {
  const auto with = [](const char* behavior) {
    return split({{"type", "Split"}, {"pattern", {{"String", "-"}}}, {"behavior", behavior}},
                 "the-final--countdown");
  };
  EXPECT_EQ(with("Removed"), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(with("Isolated"), (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(with("MergedWithPrevious"), (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(with("MergedWithNext"), (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(with("Contiguous"), (Strings{"the", "-", "final", "--", "countdown"}));
  EXPECT_THROW(with("Sideways"), Error);
}

TEST(PreTokenizer, Metaspace) {
  const auto with = [](const char* scheme, bool cut) {
    return split(
        {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", cut}},
        "a  b");
  };
  EXPECT_EQ(with("first", false), (Strings{"▁a▁▁b"}));
  EXPECT_EQ(with("never", true), (Strings{"a", "▁", "▁b"}));
  EXPECT_EQ(with("always", true), (Strings{"▁a", "▁", "▁b"}));
}

TEST(PreTokenizer, Digits) {
  EXPECT_EQ(split({{"type", "Digits"}, {"individual_digits", true}}, "a12½"),
            (Strings{"a", "1", "2", "½"}));
  EXPECT_EQ(split({{"type", "Digits"}}, "a12b"), (Strings{"a", "12", "b"}));
}

}  // namespace
}  // namespace aquatint::text
