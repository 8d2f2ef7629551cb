#include "text/normalizer.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <nlohmann/json.hpp>
#include <random>

#include "text/unicode.h"
#include "text/unicode_normalization.h"

namespace aquatint::text {
namespace {

using nlohmann::json;

std::string normalized(NormalizationForm form, std::string_view text) {
  AlignedText aligned = AlignedText::untracked(text);
  normalize_unicode(form, aligned);
  return aligned.str();
}

std::string by_utf8proc(NormalizationForm form, const std::string& text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.c_str());
  utf8proc_uint8_t* result = form == NormalizationForm::kNfc    ? utf8proc_NFC(bytes)
                             : form == NormalizationForm::kNfd  ? utf8proc_NFD(bytes)
                             : form == NormalizationForm::kNfkc ? utf8proc_NFKC(bytes)
                                                                : utf8proc_NFKD(bytes);
  const std::string out = reinterpret_cast<const char*>(result);
  std::free(result);
  return out;
}

TEST(UnicodeNormalization, EqualsUtf8procOnOldCharacters) {
  static const std::u32string kAlphabet =
      U"aeéo "
      U"ẛſﬁÅK①\u0301\u0323\u0307\u0327\u0345\u0334각가각\u1100\u1161\u11a8क़\u0958\u093c中豈"
      U"\u0344";
  std::mt19937 random(7);
  std::uniform_int_distribution<std::size_t> pick(0, kAlphabet.size() - 1);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (std::size_t n = random() % 12; n > 0; --n) append_utf8(kAlphabet[pick(random)], text);
    for (const auto form : {NormalizationForm::kNfc, NormalizationForm::kNfd,
                            NormalizationForm::kNfkc, NormalizationForm::kNfkd}) {
      ASSERT_EQ(normalized(form, text), by_utf8proc(form, text)) << text;
    }
  }
}

TEST(UnicodeNormalization, LeavesCharactersAfterUnicode9Alone) {
  EXPECT_EQ(normalized(NormalizationForm::kNfkc, "\u32FF"), "\u32FF");
  EXPECT_EQ(normalized(NormalizationForm::kNfd, "\U00011938"), "\U00011938");
}

TEST(Normalizer, KeepsTrackOfTheInput) {
  const json spec = {{"type", "Sequence"},
                     {"normalizers",
                      {{{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}},
                       {{"type", "Lowercase"}},
                       {{"type", "Replace"}, {"pattern", {{"Regex", "b+"}}}, {"content", "<>"}},
                       {{"type", "Prepend"}, {"prepend", "^"}}}}};
  const Normalizer normalizer = Normalizer::parse(spec, "test");
  AlignedText text = AlignedText::tracked("  İabbbc ", 10);
  normalizer.apply(text);
  EXPECT_EQ(text.str(), "^i\u0307a<>c");
  const auto source = [&](std::size_t begin, std::size_t end) {
    const SourceRange range = text.source(begin, end);
    return std::pair(range.begin, range.end);
  };
  EXPECT_EQ(source(0, 1), std::pair(12u, 14u));  // the prefix belongs to the first character
  EXPECT_EQ(source(1, 4), std::pair(12u, 14u));
  EXPECT_EQ(source(4, 5), std::pair(14u, 15u));
  EXPECT_EQ(source(5, 7), std::pair(17u, 18u));  // a replacement, to the last character it replaces
  EXPECT_EQ(source(7, 8), std::pair(18u, 19u));
}

TEST(Normalizer, StripsAccents) {
  const json spec = {{"type", "Sequence"},
                     {"normalizers", {{{"type", "NFD"}}, {{"type", "StripAccents"}}}}};
  AlignedText text = AlignedText::untracked("Crème Brûlée");
  Normalizer::parse(spec, "test").apply(text);
  EXPECT_EQ(text.str(), "Creme Brulee");
}

TEST(Utf8, ReplacesMaximalSubparts) {
  std::string out;
  append_lossy_utf8("a\xF0\x9F\x91z\xC0\xAF\xED\xA0\x80\xE2\x82", out);
  EXPECT_EQ(out, "a\uFFFDz\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_TRUE(utf8_unit_at("\xE2\x82", 0).truncated);
  EXPECT_FALSE(utf8_unit_at("\xE2z", 0).truncated);
  EXPECT_FALSE(is_valid_utf8("abcdefgh\xFF"));
  EXPECT_TRUE(is_valid_utf8("abcdefgh é中👍"));
}

}  // namespace
}  // namespace aquatint::text
