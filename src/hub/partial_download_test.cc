#include "hub/partial_download.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "formats/test_support.h"

namespace aquatint::hub {
namespace {

namespace fs = std::filesystem;
using testing::read_bytes;
using testing::TempFolder;

constexpr std::uint64_t kPiece = 4;
const std::string kText = "0123456789";  // pieces of 4, 4 and 2 bytes

void append(PartialDownload& partial, std::size_t piece, const std::string& text) {
  partial.append(piece, text.data(), text.size());
}

TEST(PartialDownload, PiecesInAnyOrder) {
  const TempFolder temp;
  const fs::path blob = temp.path() / "e";
  PartialDownload partial(blob, kText.size(), kPiece);
  ASSERT_EQ(partial.pieces(), 3u);
  EXPECT_EQ(partial.length(2), 2u);
  append(partial, 2, "89");
  append(partial, 0, "01");
  EXPECT_EQ(partial.received(), 4u);
  EXPECT_EQ(partial.contiguous(), 2u);
  append(partial, 0, "23");
  EXPECT_EQ(partial.contiguous(), 4u);
  append(partial, 1, "4567");
  EXPECT_TRUE(partial.complete());
  EXPECT_EQ(partial.contiguous(), kText.size());
  std::string back(4, ' ');
  partial.read(3, back.data(), back.size());
  EXPECT_EQ(back, "3456");
  partial.commit();
  EXPECT_EQ(read_bytes(blob), kText);
  EXPECT_EQ(temp.files(), (std::vector<std::string>{"e"}));
}

TEST(PartialDownload, Continues) {
  const TempFolder temp;
  const fs::path blob = temp.path() / "e";
  {
    PartialDownload partial(blob, kText.size(), kPiece);
    append(partial, 1, "456");
    append(partial, 2, "8");
  }
  EXPECT_EQ(PartialDownload::bytes_left_of(blob, kText.size(), kPiece), 4u);
  PartialDownload partial(blob, kText.size(), kPiece);
  EXPECT_EQ(partial.received(1), 3u);
  EXPECT_EQ(partial.received(2), 1u);
  append(partial, 0, "0123");
  append(partial, 1, "7");
  append(partial, 2, "9");
  partial.commit();
  EXPECT_EQ(read_bytes(blob), kText);
}

TEST(PartialDownload, DropsWhatItCannotUnderstand) {
  const TempFolder temp;
  const fs::path blob = temp.path() / "e";
  const fs::path state = temp.path() / "e.aquatint.state.incomplete";
  const auto make = [&] {
    PartialDownload partial(blob, kText.size(), kPiece);
    partial.restart(kPiece);
    append(partial, 0, "0123");
  };
  make();
  EXPECT_EQ(PartialDownload(blob, kText.size() + 1, kPiece).received(), 0u) << "another size";
  make();
  EXPECT_EQ(PartialDownload(blob, kText.size(), kPiece + 1).received(), 0u) << "other pieces";
  make();
  fs::resize_file(state, 30);
  EXPECT_EQ(PartialDownload(blob, kText.size(), kPiece).received(), 0u) << "a torn state";
  make();
  std::string bytes = read_bytes(state);
  bytes[24] = 5;  // more than the piece has
  temp.write(state.filename().string(), bytes);
  EXPECT_EQ(PartialDownload(blob, kText.size(), kPiece).received(), 0u);
  make();
  fs::remove(temp.path() / "e.aquatint.incomplete");
  EXPECT_EQ(PartialDownload::bytes_left_of(blob, kText.size(), kPiece), 0u);
  EXPECT_EQ(PartialDownload(blob, kText.size(), kPiece).received(), 0u) << "a state of nothing";
}

TEST(PartialDownload, TakesOverAPlainBeginning) {
  const TempFolder temp;
  const fs::path blob = temp.path() / "e";
  temp.write("e.incomplete", "012345");
  EXPECT_EQ(PartialDownload::bytes_left_of(blob, kText.size(), kPiece), 6u);
  PartialDownload partial(blob, kText.size(), kPiece);
  EXPECT_EQ(partial.contiguous(), 6u);
  EXPECT_FALSE(fs::exists(temp.path() / "e.incomplete"));
  append(partial, 1, "67");
  append(partial, 2, "89");
  partial.commit();
  EXPECT_EQ(read_bytes(blob), kText);
}

TEST(PartialDownload, EmptyFilesAndRestart) {
  const TempFolder temp;
  PartialDownload empty(temp.path() / "empty", 0, kPiece);
  EXPECT_EQ(empty.pieces(), 0u);
  empty.commit();
  EXPECT_EQ(read_bytes(temp.path() / "empty"), "");
  PartialDownload partial(temp.path() / "e", kText.size(), kPiece);
  append(partial, 2, "xx");
  partial.restart(kText.size());
  EXPECT_EQ(partial.pieces(), 1u);
  EXPECT_EQ(partial.received(), 0u);
  append(partial, 0, kText);
  partial.commit();
  EXPECT_EQ(read_bytes(temp.path() / "e"), kText);
}

}  // namespace
}  // namespace aquatint::hub
