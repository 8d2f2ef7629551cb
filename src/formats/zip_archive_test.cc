// ZIP files as PyTorch writes them, and those that contradict themselves.
#include "formats/zip_archive.h"

#include "formats/test_support.h"
#include "formats/torch_testing.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::raw;
using testing::zip_bytes;
using testing::ZipFile;

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::map<std::string, ZipEntry> read(const std::string& file) {
  return read_zip_directory(as_bytes(file), "x.bin");
}

void expect_refused(const std::string& file, ErrorKind kind, const std::string& text) {
  expect_error(kind, text, [&] { read(file); });
  expect_error(kind, "'x.bin': ", [&] { read(file); });
}

// Overwrites a number at a distance from the first place where `signature` stands.
template <typename T>
std::string with(std::string file, const std::string& signature, std::size_t offset, T value) {
  const std::size_t at = file.find(signature);
  EXPECT_NE(at, std::string::npos);
  std::memcpy(file.data() + at + offset, &value, sizeof(T));
  return file;
}

const std::string kLocal = raw(std::uint32_t{0x04034b50});
const std::string kRecord = raw(std::uint32_t{0x02014b50});
const std::string kEnd = raw(std::uint32_t{0x06054b50});
const std::string kEnd64 = raw(std::uint32_t{0x06064b50});
const std::string kLocator = raw(std::uint32_t{0x07064b50});

const std::vector<ZipFile> kTwo{{"a/data.pkl", "first"}, {"a/data/0", "the second"}};

TEST(ZipArchive, FindsStoredEntries) {
  for (const bool wide : {false, true}) {
    const std::string file = zip_bytes(kTwo, wide);
    EXPECT_TRUE(is_zip(as_bytes(file)));
    const auto entries = read(file);
    ASSERT_EQ(entries.size(), 2u);
    for (const ZipFile& written : kTwo) {
      const ZipEntry& entry = entries.at(written.name);
      EXPECT_EQ(file.substr(entry.offset, entry.size), written.bytes);
    }
  }
  EXPECT_TRUE(read(zip_bytes({})).empty());
  EXPECT_EQ(read(zip_bytes({{"a/", ""}, {"a/b", "c"}})).size(), 1u);
}

TEST(ZipArchive, OtherFilesAreNone) {
  EXPECT_FALSE(is_zip(as_bytes("PK")));
  EXPECT_FALSE(is_zip(as_bytes("{\"a\": 1}")));
  expect_refused("PK\x03\x04", ErrorKind::kCorrupt, "4 bytes are too few");
}

TEST(ZipArchive, EveryTruncationIsRefused) {
  for (const bool wide : {false, true}) {
    const std::string file = zip_bytes(kTwo, wide);
    for (std::size_t size = 0; size < file.size(); ++size) {
      expect_error(ErrorKind::kCorrupt, "x.bin", [&] { read(file.substr(0, size)); });
    }
    expect_error(ErrorKind::kCorrupt, "cut short", [&] { read(file + "x"); });
  }
}

TEST(ZipArchive, TwoEntriesOfOneName) {
  expect_refused(zip_bytes({{"a/b", "1"}, {"a/b", "2"}}), ErrorKind::kCorrupt,
                 "has two entries 'a/b'");
}

TEST(ZipArchive, EntriesThatShareBytes) {
  // The second entry of the directory is the first's bytes under another name.
  const std::string file = zip_bytes({{"a/b", "1"}, {"a/c", "2"}});
  const std::size_t second = file.rfind(kRecord);
  expect_refused(with(file, file.substr(second, 46 + 3), 42, std::uint32_t{0}), ErrorKind::kCorrupt,
                 "'a/c' is 'a/b'");
  // An entry inside the bytes of another.
  const std::string inner = zip_bytes({{"a/c", "2"}});
  const std::string local = inner.substr(0, inner.find(kRecord));
  const std::string outer = zip_bytes({{"a/b", local}, {"a/c", "2"}});
  const std::size_t inside = outer.find(kLocal, 4);
  expect_refused(with(outer, outer.substr(outer.rfind(kRecord), 46 + 3), 42,
                      static_cast<std::uint32_t>(inside)),
                 ErrorKind::kCorrupt, "entries share bytes");
}

TEST(ZipArchive, SizesPastTheEnd) {
  std::string file = with(zip_bytes(kTwo), kRecord, 24, std::uint32_t{1000});
  file = with(file, kRecord, 20, std::uint32_t{1000});
  expect_refused(file, ErrorKind::kCorrupt, "'a/data.pkl' ends past the entries");
  expect_refused(with(zip_bytes(kTwo), kRecord, 42, std::uint32_t{100000}), ErrorKind::kCorrupt,
                 "begins at byte 100000");
  expect_refused(with(zip_bytes(kTwo), kRecord, 24, std::uint32_t{4}), ErrorKind::kCorrupt,
                 "is stored, but has 5 and 4 bytes");
}

TEST(ZipArchive, DirectoriesThatLie) {
  const std::string file = zip_bytes(kTwo);
  expect_refused(with(file, kEnd, 12, std::uint32_t{7}), ErrorKind::kCorrupt,
                 "its directory (7 bytes");
  expect_refused(with(file, kEnd, 16, std::uint32_t{0}), ErrorKind::kCorrupt, "its directory");
  expect_refused(with(file, kEnd, 16, std::uint32_t{0xfffffff0}), ErrorKind::kCorrupt,
                 "its directory");
  std::string counts = with(file, kEnd, 8, std::uint16_t{3});
  expect_refused(counts, ErrorKind::kCorrupt, "3 of 2 entries");
  counts = with(counts, kEnd, 10, std::uint16_t{3});
  expect_refused(counts, ErrorKind::kCorrupt, "says 3 entries and has 2");
  expect_refused(with(file, kEnd, 20, std::uint16_t{1}), ErrorKind::kCorrupt, "comment");
  expect_refused(with(file, kEnd, 4, std::uint16_t{1}), ErrorKind::kUnsupported, "several parts");
}

TEST(ZipArchive, WideRecordsThatLie) {
  const std::string file = zip_bytes(kTwo, true);
  const std::uint64_t huge = ~std::uint64_t{0} - 5;
  expect_refused(with(file, kEnd64, 40, huge), ErrorKind::kCorrupt, "its directory");
  expect_refused(with(file, kEnd64, 48, huge), ErrorKind::kCorrupt, "its directory");
  expect_refused(with(file, kEnd64, 32, huge), ErrorKind::kCorrupt, "2 of 18446744073709551610");
  expect_refused(with(file, kEnd64, 4, huge), ErrorKind::kCorrupt, "a ZIP64 end record of");
  expect_refused(with(file, kLocator, 8, huge), ErrorKind::kCorrupt, "is said to be at byte");
  expect_refused(with(file, kLocator, 16, std::uint32_t{2}), ErrorKind::kUnsupported,
                 "several parts");
  // The narrow record says something else than the wide one.
  expect_refused(with(file, kEnd, 10, std::uint16_t{1}), ErrorKind::kCorrupt, "disagree");
  expect_refused(with(file, kEnd, 16, std::uint32_t{3}), ErrorKind::kCorrupt, "disagree");
  // Sizes of entries: size, packed size and place in the first ZIP64 field.
  const std::string field = raw(std::uint16_t{1}) + raw(std::uint16_t{24});
  expect_refused(with(file, field, 4, huge), ErrorKind::kCorrupt, "is stored, but has");
  expect_refused(with(with(file, field, 4, huge), field, 12, huge), ErrorKind::kCorrupt,
                 "ends past the entries");
  expect_refused(with(file, field, 20, huge), ErrorKind::kCorrupt, "begins at byte");
  expect_refused(with(file, field, 0, std::uint16_t{2}), ErrorKind::kCorrupt, "no ZIP64 field");
  expect_refused(with(file, field, 2, std::uint16_t{8}), ErrorKind::kCorrupt, "x.bin");
}

TEST(ZipArchive, LocalHeadersThatDisagree) {
  const std::string file = zip_bytes(kTwo);
  expect_refused(with(file, kLocal, 30, 'b'), ErrorKind::kCorrupt, "'a/data.pkl' is 'b/data.pkl'");
  expect_refused(with(file, kLocal, 8, std::uint16_t{8}), ErrorKind::kCorrupt, "with method 8");
  expect_refused(with(file, kLocal, 0, std::uint32_t{7}), ErrorKind::kCorrupt, "has no header");
  expect_refused(with(file, kLocal, 28, std::uint16_t{60000}), ErrorKind::kCorrupt,
                 "ends inside a local header");
}

TEST(ZipArchive, WhatIsNotStored) {
  expect_refused(zip_bytes({{"a/data.pkl", "x", 8}}), ErrorKind::kUnsupported,
                 "'a/data.pkl' is compressed (method 8)");
  expect_refused(zip_bytes({{"a/data.pkl", "x", 0, 1}}), ErrorKind::kUnsupported, "encrypted");
}

TEST(ZipArchive, NamesThatLeaveTheArchive) {
  for (const std::string name : {"../a", "/etc/passwd", "a/../../b", "a/..", "..", "a\\b", ""}) {
    expect_refused(zip_bytes({{name, "x"}}), ErrorKind::kCorrupt, "an entry is called");
  }
  expect_refused(zip_bytes({{std::string("a\0b", 3), "x"}}), ErrorKind::kCorrupt,
                 "an entry is called");
  EXPECT_EQ(read(zip_bytes({{"a..b/..c", "x"}})).size(), 1u);
}

}  // namespace
}  // namespace aquatint
