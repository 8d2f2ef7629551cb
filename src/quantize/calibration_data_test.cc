#include "quantize/calibration_data.h"

#include <algorithm>

#include "formats/test_support.h"
#include "quantize/calibration_text.h"
#include "quantize/sample_text.h"
#include "testing/shared_data.h"
#include "text/test_tokenizers.h"

namespace aquatint {
namespace {

using testing::expect_error;
using Options = CalibrationDataOptions;

// One token for each byte, but for ab, bc and abc; BOS, where there is one, is the token "<s>".
Tokenizer byte_tokenizer() {
  return text::parse_tokenizer(text::byte_level_tokenizer());
}

Tokenizer bos_tokenizer() {
  return text::parse_tokenizer(text::sentencepiece_tokenizer());
}

// Sequences of at most 4 tokens of a file, with at least 2.
Options short_sequences(const std::filesystem::path& file) {
  Options options;
  options.source = file.string();
  options.length = 4;
  options.min_length = 2;
  return options;
}

std::vector<std::string> texts(const CalibrationData& data, const Tokenizer& tokenizer) {
  std::vector<std::string> result;
  for (const auto& sequence : data.sequences) result.push_back(tokenizer.decode(sequence, false));
  return result;
}

class CalibrationData_ : public ::testing::Test {
 protected:
  std::filesystem::path lines(const std::vector<std::string>& documents,
                              const std::string& key = "text") {
    std::string all;
    for (const auto& d : documents) all += nlohmann::json{{key, d}}.dump() + "\n";
    return folder_.write("data.jsonl", all);
  }
  std::vector<std::string> cut(const Options& options) {
    return texts(load_calibration_data(options, tokenizer_, 0), tokenizer_);
  }

  testing::TempFolder folder_;
  Tokenizer tokenizer_ = byte_tokenizer();
};
using Texts = std::vector<std::string>;

TEST_F(CalibrationData_, ConcatenationJoinsAndCuts) {
  Options options = short_sequences(lines({"123456", "", "78"}));
  const CalibrationData data = load_calibration_data(options, tokenizer_, 0);
  EXPECT_EQ(texts(data, tokenizer_), (Texts{"1234", "56\n\n", "78"}));
  EXPECT_EQ(data.name, "data.jsonl");
  EXPECT_EQ(data.documents, 3);
  EXPECT_EQ(data.skipped, 1);
  EXPECT_EQ(data.requested, 128);
  EXPECT_EQ(data.tokens(), 10);
  options.min_length = 3;  // the rest is too short now
  EXPECT_EQ(cut(options), (Texts{"1234", "56\n\n"}));
  options.samples = 1;
  EXPECT_EQ(load_calibration_data(options, tokenizer_, 0).documents, 1);
}

TEST_F(CalibrationData_, TruncationTakesBeginnings) {
  Options options = short_sequences(lines({"123456", "x", "78", "9876"}));
  options.join = CalibrationJoin::kTruncate;
  const CalibrationData data = load_calibration_data(options, tokenizer_, 0);
  EXPECT_EQ(texts(data, tokenizer_), (Texts{"1234", "78", "9876"}));
  EXPECT_EQ(data.documents, 4);
  EXPECT_EQ(data.skipped, 1);
  options.samples = 2;
  EXPECT_EQ(cut(options), (Texts{"1234", "78"}));
}

TEST_F(CalibrationData_, SeedShufflesTheSameWayEachTime) {
  Texts documents;
  for (int i = 10; i < 40; ++i) documents.push_back(std::to_string(i));
  Options options = short_sequences(lines(documents));
  options.join = CalibrationJoin::kTruncate;
  EXPECT_EQ(cut(options), documents);
  options.seed = 5;
  Texts shuffled = cut(options);
  EXPECT_NE(shuffled, documents);
  EXPECT_EQ(cut(options), shuffled);
  options.seed = 6;
  EXPECT_NE(cut(options), shuffled);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, documents);
}

TEST_F(CalibrationData_, PolicySaysWhetherSequencesBeginWithBos) {
  Options options = short_sequences(folder_.write("a.txt", "aaaaaaaa"));
  const auto first_tokens = [&](BosPolicy bos, const Tokenizer& tokenizer) {
    options.bos = bos;
    std::vector<TokenId> first;
    for (const auto& sequence : load_calibration_data(options, tokenizer, 0).sequences) {
      EXPECT_LE(sequence.size(), 4u);
      first.push_back(sequence.front());
    }
    return first;
  };
  const Tokenizer with = bos_tokenizer();
  const TokenId bos = *with.bos_id();
  const auto all = first_tokens(BosPolicy::kAlways, with);
  EXPECT_EQ(all, std::vector<TokenId>(3, bos));
  const auto none = first_tokens(BosPolicy::kNone, with);
  EXPECT_EQ(std::count(none.begin(), none.end(), bos), 0);
  EXPECT_EQ(first_tokens(BosPolicy::kTokenizer, with), with.adds_bos() ? all : none);
  expect_error(ErrorKind::kUnsupported, "no beginning-of-text token",
               [&] { first_tokens(BosPolicy::kAlways, tokenizer_); });
}

TEST_F(CalibrationData_, LongTextsAreTokenizedOnlyAsFarAsNeeded) {
  std::string text;
  for (int i = 0; i < 200000; ++i) text += static_cast<char>('0' + i % 10);
  Options options = short_sequences(folder_.write("long.txt", text));
  options.length = options.min_length = 100;
  options.samples = 50;
  const auto sequences = load_calibration_data(options, tokenizer_, 0).sequences;
  ASSERT_EQ(sequences.size(), 50u);
  const auto whole = tokenizer_.encode(text, false);
  for (std::size_t i = 0; i < 50; ++i) {
    EXPECT_TRUE(std::equal(sequences[i].begin(), sequences[i].end(),
                           whole.begin() + static_cast<std::ptrdiff_t>(i * 100)));
  }
}

TEST_F(CalibrationData_, KeysOfJsonLines) {
  Options options = short_sequences(lines({"1234"}, "content"));
  expect_error(ErrorKind::kCorrupt, "line 1: an object without 'page' or 'text'",
               [&] { cut(options); });
  options.key = "content";
  EXPECT_EQ(cut(options), Texts{"1234"});
}

TEST_F(CalibrationData_, LengthsThatContradict) {
  Options options = short_sequences(folder_.write("a.txt", "some text"));
  expect_error(ErrorKind::kInvalidArgument, "sequences of 4 tokens; the model has 3 positions",
               [&] { load_calibration_data(options, tokenizer_, 3); });
  options.min_length = 5;
  expect_error(ErrorKind::kInvalidArgument, "minimum length of 5 tokens is more",
               [&] { cut(options); });
}

TEST_F(CalibrationData_, NothingLongEnough) {
  Options options = short_sequences(lines({"1", "2"}));
  options.min_length = 4;
  options.join = CalibrationJoin::kTruncate;
  expect_error(ErrorKind::kInvalidArgument,
               "'data.jsonl' has nothing to calibrate on: the longest of 2 documents has 1 tokens",
               [&] { cut(options); });
  options.join = CalibrationJoin::kConcatenate;
  options.source = folder_.write("a.txt", "123").string();
  expect_error(ErrorKind::kInvalidArgument, "all of it has 3 tokens, and 4 are the minimum",
               [&] { cut(options); });
}

TEST_F(CalibrationData_, FilesThatCannotBeRead) {
  const auto fails = [&](const std::filesystem::path& file, ErrorKind kind, const char* text) {
    expect_error(kind, text, [&] { cut(short_sequences(file)); });
  };
  fails(folder_.path() / "none.txt", ErrorKind::kNotFound, "none.txt");
  fails(folder_.write("e.txt", ""), ErrorKind::kCorrupt, "e.txt' is empty");
  fails(folder_.write("u.txt", "ab\xFF"), ErrorKind::kCorrupt, "byte 2 is not UTF-8");
  fails(folder_.write("p.parquet", "PAR1"), ErrorKind::kUnsupported, "orient='records'");
  fails(folder_.write("p.jsonl.zst", "x"), ErrorKind::kUnsupported, "unzstd unpacks it");
}

TEST_F(CalibrationData_, SetsAreReadAndWarnedOf) {
  Options options = short_sequences("wikitext");
  expect_error(ErrorKind::kInvalidArgument, "needs the folder with 'wikitext.jsonl'",
               [&] { cut(options); });
  options.data_folder = folder_.path();
  expect_error(ErrorKind::kNotFound, "which is not there", [&] { cut(options); });
  folder_.write("wikitext.jsonl", "{\"page\": \"1 @-@ 2\"}\n");
  const CalibrationData data = load_calibration_data(options, tokenizer_, 0);
  EXPECT_EQ(texts(data, tokenizer_), Texts{"1-2"});
  EXPECT_EQ(data.name, "wikitext");
  EXPECT_NE(data.warning.find("test set of task wikitext"), std::string::npos) << data.warning;
  options.source = (folder_.path() / "wikitext.jsonl").string();
  EXPECT_FALSE(load_calibration_data(options, tokenizer_, 0).warning.empty());
}

TEST_F(CalibrationData_, SetsOfTheSharedData) {
  AQUATINT_SHARED_PATH(folder, "data");
  for (const CalibrationSet& set : calibration_sets()) {
    Options options;
    options.source = set.name;
    options.data_folder = folder;
    const CalibrationData data = load_calibration_data(options, tokenizer_, 0);
    EXPECT_EQ(data.sequences.size(), 128u);
    EXPECT_EQ(data.tokens(), 128 * 512);
  }
}

TEST_F(CalibrationData_, SampleIsTheDefault) {
  Options options;
  const CalibrationData data = load_calibration_data(options, tokenizer_, 0);
  EXPECT_GT(data.sequences.size(), 10u);
  EXPECT_TRUE(data.warning.empty());
  EXPECT_EQ(sample_text(), testing::read_bytes(testing::source_dir() / "assets/text/sample.txt"));
}

TEST(CalibrationReport, CountsAndLengths) {
  CalibrationData data;
  data.name = "a.txt";
  data.requested = 20;
  for (std::size_t n = 1; n <= 10; ++n) data.sequences.emplace_back(n, 0);
  data.documents = 12;
  data.skipped = 2;
  EXPECT_EQ(calibration_lines(data),
            (Texts{"calibration: 10 sequences of a.txt, 55 tokens; 20 were asked for",
                   "  lengths: min 1, median 5, 90 % 9, max 10; 12 documents, 2 of them skipped as "
                   "too short"}));
  EXPECT_EQ(calibration_lengths(CalibrationData{}).max, 0);
}

TEST(CalibrationReport, FingerprintTellsSequencesApart) {
  CalibrationData a, b, c;
  a.sequences = {{1, 2}, {3}};
  b.sequences = {{1}, {2, 3}};
  c.sequences = {{1, 2}, {3}};
  EXPECT_NE(a.fingerprint(), b.fingerprint());
  EXPECT_EQ(a.fingerprint(), c.fingerprint());
}

}  // namespace
}  // namespace aquatint
