#include "formats/zip_archive.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "formats/byte_reader.h"

// Field names and sizes are those of the ZIP specification (APPNOTE 6.3, sections 4.3.7, 4.3.12,
// 4.3.14 to 4.3.16 and 4.5.3).
namespace aquatint {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kDirectoryHeader = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50;
constexpr std::uint32_t kEnd64Locator = 0x07064b50;
constexpr std::size_t kLocalSize = 30, kEndSize = 22, kEnd64Size = 56, kLocatorSize = 20;
constexpr std::uint32_t kIn64 = 0xffffffff;  // the ZIP64 field has the value
constexpr std::uint16_t kIn64Short = 0xffff;

struct Directory {
  std::uint64_t offset = 0, size = 0, entries = 0;
  std::size_t end = 0;  // where what follows the directory begins
};

// One entry of the directory, with the values of its ZIP64 field put in.
struct Record {
  std::string name;
  std::uint16_t flags = 0, method = 0;
  std::uint64_t packed = 0, size = 0, header = 0;
};

class ZipReader {
 public:
  ZipReader(std::span<const std::byte> file, const std::string& origin)
      : file_(file), origin_(origin) {}

  std::map<std::string, ZipEntry> read() const {
    const Directory directory = find_directory();
    if (directory.size > directory.end || directory.offset != directory.end - directory.size) {
      corrupt("its directory ({} bytes at {}) does not end at byte {}", directory.size,
              directory.offset, directory.end);
    }
    std::map<std::string, ZipEntry> entries;
    std::vector<std::pair<std::size_t, std::size_t>> ranges;  // local header to the last byte
    ByteReader reader(file_.first(directory.end), origin_,
                      static_cast<std::size_t>(directory.offset));
    std::uint64_t count = 0;
    for (; reader.remaining() > 0; ++count) {
      const Record record = read_record(reader);
      const ZipEntry entry = locate(record, static_cast<std::size_t>(directory.offset));
      ranges.emplace_back(static_cast<std::size_t>(record.header), entry.offset + entry.size);
      if (record.name.ends_with('/') && entry.size == 0) continue;  // a folder
      if (!entries.emplace(record.name, entry).second) {
        corrupt("has two entries '{}'", printable(record.name));
      }
    }
    if (count != directory.entries) {
      corrupt("its directory says {} entries and has {}", directory.entries, count);
    }
    check_apart(ranges);
    return entries;
  }

 private:
  template <typename... Args>
  [[noreturn]] void corrupt(fmt::format_string<Args...> text, Args&&... args) const {
    raise(ErrorKind::kCorrupt, "'{}': not a sound ZIP file: {}", origin_,
          fmt::format(text, std::forward<Args>(args)...));
  }

  // The end record is at the very end: PyTorch writes no comment, and with one there could be two.
  Directory find_directory() const {
    if (file_.size() < kEndSize) corrupt("{} bytes are too few", file_.size());
    const std::size_t at = file_.size() - kEndSize;
    ByteReader reader(file_, origin_, at);
    if (reader.number<std::uint32_t>("the end record") != kEnd) {
      corrupt("no end of its directory at byte {}; it may be cut short", at);
    }
    const auto disk = reader.number<std::uint16_t>("the end record");
    const auto first_disk = reader.number<std::uint16_t>("the end record");
    const auto here = reader.number<std::uint16_t>("the end record");
    Directory directory;
    directory.end = at;
    directory.entries = reader.number<std::uint16_t>("the end record");
    directory.size = reader.number<std::uint32_t>("the end record");
    directory.offset = reader.number<std::uint32_t>("the end record");
    if (reader.number<std::uint16_t>("the end record") != 0) corrupt("it has a comment");
    const bool in_64 =
        directory.entries == kIn64Short || directory.size == kIn64 || directory.offset == kIn64;
    if (has_locator(at)) {
      const Directory wide = find_directory_64(at - kLocatorSize);
      check_agrees(directory, wide);
      return wide;
    }
    if (in_64) corrupt("its ZIP64 end record is missing");
    check_one_disk(disk, first_disk);
    if (here != directory.entries) corrupt("{} of {} entries", here, directory.entries);
    return directory;
  }

  void check_one_disk(std::uint32_t disk, std::uint32_t first_disk) const {
    if (disk == 0 && first_disk == 0) return;
    raise(ErrorKind::kUnsupported, "'{}': a ZIP file in several parts (part {}) is not supported",
          origin_, disk);
  }

  bool has_locator(std::size_t end) const {
    if (end < kLocatorSize) return false;
    ByteReader reader(file_, origin_, end - kLocatorSize);
    return reader.number<std::uint32_t>("the ZIP64 locator") == kEnd64Locator;
  }

  Directory find_directory_64(std::size_t locator) const {
    ByteReader reader(file_, origin_, locator + 4);
    const auto locator_disk = reader.number<std::uint32_t>("the ZIP64 locator");
    const auto at = reader.number<std::uint64_t>("the ZIP64 locator");
    const auto disks = reader.number<std::uint32_t>("the ZIP64 locator");
    if (disks > 1) check_one_disk(disks, disks);
    if (locator < kEnd64Size || at != locator - kEnd64Size) {
      corrupt("its ZIP64 end record is said to be at byte {}, not before its locator at {}", at,
              locator);
    }
    ByteReader end(file_, origin_, static_cast<std::size_t>(at));
    if (end.number<std::uint32_t>("the ZIP64 end record") != kEnd64) {
      corrupt("no ZIP64 end record at byte {}", at);
    }
    const auto size = end.number<std::uint64_t>("the ZIP64 end record");
    if (size != kEnd64Size - 12) corrupt("a ZIP64 end record of {} bytes", size);
    end.bytes(4, "the ZIP64 end record");  // versions
    const auto disk = end.number<std::uint32_t>("the ZIP64 end record");
    check_one_disk(std::max(disk, locator_disk), end.number<std::uint32_t>("the ZIP64 end record"));
    const auto here = end.number<std::uint64_t>("the ZIP64 end record");
    Directory directory;
    directory.end = static_cast<std::size_t>(at);
    directory.entries = end.number<std::uint64_t>("the ZIP64 end record");
    directory.size = end.number<std::uint64_t>("the ZIP64 end record");
    directory.offset = end.number<std::uint64_t>("the ZIP64 end record");
    if (here != directory.entries) corrupt("{} of {} entries", here, directory.entries);
    return directory;
  }

  // Readers without ZIP64 must not see another directory.
  void check_agrees(const Directory& narrow, const Directory& wide) const {
    const bool agrees = (narrow.entries == kIn64Short || narrow.entries == wide.entries) &&
                        (narrow.size == kIn64 || narrow.size == wide.size) &&
                        (narrow.offset == kIn64 || narrow.offset == wide.offset);
    if (!agrees) {
      corrupt("its two end records disagree ({} and {} entries, {} and {} bytes at {} and {})",
              narrow.entries, wide.entries, narrow.size, wide.size, narrow.offset, wide.offset);
    }
  }

  Record read_record(ByteReader& reader) const {
    const std::size_t at = reader.position();
    constexpr const char* kWhat = "the directory of the ZIP file";
    if (reader.number<std::uint32_t>(kWhat) != kDirectoryHeader) {
      corrupt("no entry of its directory at byte {}", at);
    }
    Record record;
    reader.bytes(4, kWhat);  // versions
    record.flags = reader.number<std::uint16_t>(kWhat);
    record.method = reader.number<std::uint16_t>(kWhat);
    reader.bytes(8, kWhat);  // time, date, CRC-32
    record.packed = reader.number<std::uint32_t>(kWhat);
    record.size = reader.number<std::uint32_t>(kWhat);
    const auto name_size = reader.number<std::uint16_t>(kWhat);
    const auto extra_size = reader.number<std::uint16_t>(kWhat);
    const auto comment_size = reader.number<std::uint16_t>(kWhat);
    const auto disk = reader.number<std::uint16_t>(kWhat);
    reader.bytes(6, kWhat);  // attributes
    record.header = reader.number<std::uint32_t>(kWhat);
    record.name = reader.text(name_size, kWhat);
    read_extra_64(reader.text(extra_size, kWhat), record);
    reader.bytes(comment_size, kWhat);
    if (disk != kIn64Short) check_one_disk(disk, disk);
    return record;
  }

  // The ZIP64 field holds, in this order, those values that are all ones in the entry.
  void read_extra_64(std::string_view extra, Record& record) const {
    const auto bytes = std::as_bytes(std::span(extra.data(), extra.size()));
    ByteReader fields(bytes, origin_);
    bool found = false;
    while (fields.remaining() >= 4) {
      const auto id = fields.number<std::uint16_t>("an extra field");
      const auto size = fields.number<std::uint16_t>("an extra field");
      const auto field = fields.bytes(size, "an extra field");
      if (id != 1) continue;
      if (found) corrupt("'{}' has two ZIP64 fields", printable(record.name));
      found = true;
      ByteReader values(field, origin_);
      for (std::uint64_t* value : {&record.size, &record.packed, &record.header}) {
        if (*value == kIn64) *value = values.number<std::uint64_t>("a ZIP64 field");
      }
    }
    if (found) return;
    for (const std::uint64_t value : {record.size, record.packed, record.header}) {
      if (value == kIn64) corrupt("'{}' has no ZIP64 field", printable(record.name));
    }
  }

  // Where the entry's bytes are, which only its local header says. `limit` is where the directory
  // begins.
  ZipEntry locate(const Record& record, std::size_t limit) const {
    check_kind(record);
    const std::string name = printable(record.name);
    if (record.header > limit || limit - record.header < kLocalSize) {
      corrupt("'{}' begins at byte {}, past the entries (to {})", name, record.header, limit);
    }
    ByteReader reader(file_.first(limit), origin_, static_cast<std::size_t>(record.header));
    if (reader.number<std::uint32_t>("a local header") != kLocalHeader) {
      corrupt("'{}' has no header at byte {}", name, record.header);
    }
    reader.bytes(2, "a local header");  // version
    const auto flags = reader.number<std::uint16_t>("a local header");
    const auto method = reader.number<std::uint16_t>("a local header");
    reader.bytes(16, "a local header");  // time, date, CRC-32, sizes: the directory has them
    const auto name_size = reader.number<std::uint16_t>("a local header");
    const auto extra_size = reader.number<std::uint16_t>("a local header");
    const auto local_name = reader.text(name_size, "a local header");
    if (local_name != record.name || method != record.method || ((flags ^ record.flags) & 1) != 0) {
      corrupt("'{}' is '{}' with method {} in its local header", name, printable(local_name),
              method);
    }
    reader.bytes(extra_size, "a local header");
    const std::size_t offset = reader.position();
    if (record.size > limit - offset) {
      corrupt("'{}' ends past the entries ({} bytes at {}, to {})", name, record.size, offset,
              limit);
    }
    return {offset, static_cast<std::size_t>(record.size)};
  }

  void check_kind(const Record& record) const {
    const std::string name = printable(record.name);
    if ((record.flags & 1) != 0) {
      raise(ErrorKind::kUnsupported, "'{}': '{}' is encrypted", origin_, name);
    }
    if (record.method != 0) {
      raise(ErrorKind::kUnsupported,
            "'{}': '{}' is compressed (method {}); load it with torch.load and save it again with "
            "torch.save, which stores entries as they are",
            origin_, name, record.method);
    }
    if (record.packed != record.size) {
      corrupt("'{}' is stored, but has {} and {} bytes", name, record.packed, record.size);
    }
    const bool climbs = record.name == ".." || record.name.starts_with("../") ||
                        record.name.ends_with("/..") ||
                        record.name.find("/../") != std::string::npos;
    const bool odd =
        record.name.find('\0') != std::string::npos || record.name.find('\\') != std::string::npos;
    if (record.name.empty() || record.name.front() == '/' || climbs || odd) {
      corrupt("an entry is called '{}'", name);
    }
  }

  void check_apart(std::vector<std::pair<std::size_t, std::size_t>>& ranges) const {
    std::sort(ranges.begin(), ranges.end());
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i].first < ranges[i - 1].second) {
        corrupt("entries share bytes ({} to {}, and from {})", ranges[i - 1].first,
                ranges[i - 1].second, ranges[i].first);
      }
    }
  }

  std::span<const std::byte> file_;
  const std::string& origin_;
};

}  // namespace

bool is_zip(std::span<const std::byte> file) {
  std::uint32_t magic = 0;
  if (file.size() < sizeof(magic)) return false;
  std::memcpy(&magic, file.data(), sizeof(magic));
  return magic == kLocalHeader || magic == kEnd;
}

std::map<std::string, ZipEntry> read_zip_directory(std::span<const std::byte> file,
                                                   const std::string& origin) {
  return ZipReader(file, origin).read();
}

}  // namespace aquatint
