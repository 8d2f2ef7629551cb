#include "formats/text_data.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace aquatint {
namespace {

class TextData_ : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(::testing::TempDir()) /
              (std::string("aquatint_text_data_") + info->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  static std::string failure(const std::filesystem::path& path, ErrorKind kind) {
    try {
      read_text_data(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  std::filesystem::path folder_;
};

TEST_F(TextData_, PlainFileIsOneDocumentByteForByte) {
  const TextData data = read_text_data(write("a.txt", " two words\r\n"));
  EXPECT_EQ(data.name, "a.txt");
  ASSERT_EQ(data.documents.size(), 1u);
  EXPECT_EQ(data.documents[0].text, " two words\r\n");
  EXPECT_EQ(data.documents[0].words, 4);
  EXPECT_EQ(data.documents[0].bytes, 12);
}

TEST_F(TextData_, JsonLinesAreDocuments) {
  const TextData data =
      read_text_data(write("a.jsonl", "{\"page\": \"one\"}\r\n\n{\"text\": \"two\\n\\u00e9\"}"));
  ASSERT_EQ(data.documents.size(), 2u);
  EXPECT_EQ(data.documents[1].text, "two\n\xC3\xA9");
  EXPECT_EQ(data.documents[1].bytes, 6);
}

TEST_F(TextData_, ErrorsNameTheFileAndTheLine) {
  const auto contains = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  contains(failure(folder_ / "none.txt", ErrorKind::kNotFound), "none.txt");
  contains(failure(write("e.txt", ""), ErrorKind::kCorrupt), "e.txt' is empty");
  contains(failure(write("b.jsonl", "\n \n"), ErrorKind::kCorrupt), "no documents");
  const std::string good = "{\"page\": \"x\"}\n";
  contains(failure(write("c.jsonl", good + "{\"page\": }"), ErrorKind::kCorrupt), "': line 2, col");
  contains(failure(write("d.jsonl", good + good + "[1]\n"), ErrorKind::kCorrupt),
           "line 3: array instead of an object");
  contains(failure(write("f.jsonl", "{\"page\": 3}\n"), ErrorKind::kCorrupt),
           "line 1: 'page' is no string but number");
  contains(failure(write("g.jsonl", good + "{\"goal\": \"x\"}\n"), ErrorKind::kCorrupt),
           "line 2: an object without 'page' or 'text'");
}

}  // namespace
}  // namespace aquatint
