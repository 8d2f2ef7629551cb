#include "hub/partial_download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/write_all.h"
#include "formats/atomic_file.h"

namespace aquatint::hub {
namespace {

namespace fs = std::filesystem;

// The state file: these three numbers, then the count of each piece, 8 bytes each in the order of
// this machine (it is read on the machine that wrote it, or not understood and dropped).
struct StateHeader {
  std::uint64_t magic, size, piece_bytes;
  bool operator==(const StateHeader&) const = default;
};
constexpr std::uint64_t kMagic = 0x3130'5452'4150'5141;  // "AQPART01"

[[noreturn]] void raise_errno(const fs::path& path, const char* what, int code) {
  raise(code == ENOSPC || code == EDQUOT ? ErrorKind::kOutOfMemory : ErrorKind::kIo,
        "'{}': cannot {}: {}", path.string(), what, std::strerror(code));
}

void write_fully(int fd, std::uint64_t offset, const void* data, std::size_t size,
                 const fs::path& path) {
  const int code = write_all(fd, offset, data, size);
  if (code != 0) raise_errno(path, "write", code);
}

int open_for_writing(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) raise_errno(path, "create the file", errno);
  return fd;
}

void shorten(int fd, std::uint64_t size, const fs::path& path) {
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) raise_errno(path, "shorten the file", errno);
}

std::size_t count_pieces(std::uint64_t size, std::uint64_t piece_bytes) {
  return static_cast<std::size_t>((size + piece_bytes - 1) / piece_bytes);
}

std::uint64_t piece_length(std::uint64_t size, std::uint64_t piece_bytes, std::size_t piece) {
  return std::min(piece_bytes, size - piece * piece_bytes);
}

fs::path with_suffix(const fs::path& blob, const char* suffix) {
  fs::path path = blob;
  path += suffix;
  return path;
}

constexpr const char* kDataSuffix = ".aquatint.incomplete";
constexpr const char* kStateSuffix = ".aquatint.state.incomplete";
constexpr const char* kPythonSuffix = ".incomplete";

// The counts in a state file, if they are of such a file and make sense.
std::optional<std::vector<std::uint64_t>> read_counts(int fd, const StateHeader& expected) {
  StateHeader header{};
  if (::pread(fd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header) ||
      !(header == expected)) {
    return std::nullopt;
  }
  std::vector<std::uint64_t> counts(count_pieces(expected.size, expected.piece_bytes));
  const std::size_t bytes = counts.size() * sizeof(std::uint64_t);
  if (::pread(fd, counts.data(), bytes, sizeof header) != static_cast<ssize_t>(bytes)) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > piece_length(expected.size, expected.piece_bytes, i)) return std::nullopt;
  }
  return counts;
}

}  // namespace

PartialDownload::PartialDownload(fs::path blob, std::uint64_t size, std::uint64_t piece_bytes)
    : blob_(std::move(blob)),
      data_path_(with_suffix(blob_, kDataSuffix)),
      state_path_(with_suffix(blob_, kStateSuffix)),
      size_(size),
      piece_bytes_(piece_bytes) {
  AQUATINT_ASSERT(piece_bytes > 0);
  std::error_code error;
  const bool had_data = fs::exists(data_path_, error);
  const fs::path prefix = with_suffix(blob_, kPythonSuffix);
  const bool adopt =
      !had_data && fs::is_regular_file(prefix, error) && !fs::is_symlink(prefix, error);
  if (adopt) fs::rename(prefix, data_path_, error);
  data_ = open_for_writing(data_path_);
  try {
    state_ = open_for_writing(state_path_);
    if (had_data && continue_state()) return;
    if (adopt && !error) {
      adopt_prefix(data_path_);
    } else {
      restart(piece_bytes);
    }
  } catch (...) {
    if (state_ >= 0) ::close(state_);
    ::close(data_);
    throw;
  }
}

PartialDownload::~PartialDownload() {
  if (state_ >= 0) ::close(state_);
  if (data_ >= 0) ::close(data_);
}

std::uint64_t PartialDownload::bytes_left_of(const fs::path& blob, std::uint64_t size,
                                             std::uint64_t piece_bytes) {
  struct stat info {};
  const fs::path data = with_suffix(blob, kDataSuffix);
  if (::stat(data.c_str(), &info) != 0) {
    const bool prefix = ::stat(with_suffix(blob, kPythonSuffix).c_str(), &info) == 0;
    return prefix ? std::min(size, static_cast<std::uint64_t>(info.st_size)) : 0;
  }
  const int fd = ::open(with_suffix(blob, kStateSuffix).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const auto counts = read_counts(fd, {kMagic, size, piece_bytes});
  ::close(fd);
  std::uint64_t total = 0;
  for (const std::uint64_t count : counts.value_or(std::vector<std::uint64_t>{})) total += count;
  return total;
}

bool PartialDownload::continue_state() {
  const auto counts = read_counts(state_, {kMagic, size_, piece_bytes_});
  if (!counts) return false;
  received_ = std::vector<std::atomic<std::uint64_t>>(counts->size());
  for (std::size_t i = 0; i < counts->size(); ++i) received_[i] = (*counts)[i];
  return true;
}

// The file holds the beginning of the contents and nothing else.
void PartialDownload::adopt_prefix(const fs::path& file) {
  struct stat info {};
  if (::fstat(data_, &info) != 0) raise_errno(file, "look at the file", errno);
  const std::uint64_t there = std::min(size_, static_cast<std::uint64_t>(info.st_size));
  shorten(data_, there, file);
  shorten(state_, 0, state_path_);
  const StateHeader header{kMagic, size_, piece_bytes_};
  received_ = std::vector<std::atomic<std::uint64_t>>(count_pieces(size_, piece_bytes_));
  std::vector<std::uint64_t> counts(received_.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    counts[i] = there > begin(i) ? std::min(length(i), there - begin(i)) : 0;
    received_[i] = counts[i];
  }
  write_state(sizeof header, counts.data(), counts.size() * sizeof(std::uint64_t));
  write_state(0, &header, sizeof header);
}

void PartialDownload::restart(std::uint64_t piece_bytes) {
  shorten(data_, 0, data_path_);
  piece_bytes_ = piece_bytes;
  adopt_prefix(data_path_);  // of nothing
}

void PartialDownload::write_state(std::uint64_t offset, const void* data, std::size_t size) const {
  write_fully(state_, offset, data, size, state_path_);
}

std::uint64_t PartialDownload::length(std::size_t piece) const {
  return piece_length(size_, piece_bytes_, piece);
}

std::uint64_t PartialDownload::received() const {
  std::uint64_t total = 0;
  for (const auto& count : received_) total += count;
  return total;
}

std::uint64_t PartialDownload::contiguous() const {
  for (std::size_t i = 0; i < received_.size(); ++i) {
    const std::uint64_t count = received_[i];
    if (count < length(i)) return begin(i) + count;
  }
  return size_;
}

void PartialDownload::append(std::size_t piece, const void* data, std::size_t size) {
  const std::uint64_t before = received_[piece];
  AQUATINT_ASSERT(before + size <= length(piece));
  write_fully(data_, begin(piece) + before, data, size, data_path_);
  const std::uint64_t after = before + size;
  write_state(sizeof(StateHeader) + piece * sizeof after, &after, sizeof after);
  received_[piece] = after;
}

void PartialDownload::read(std::uint64_t offset, void* data, std::size_t size) const {
  char* bytes = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = ::pread(data_, bytes, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) raise_errno(data_path_, "read back", n == 0 ? EIO : errno);
    bytes += n;
    offset += static_cast<std::uint64_t>(n);
    size -= static_cast<std::size_t>(n);
  }
}

void PartialDownload::commit() {
  AQUATINT_ASSERT(complete());
  if (::fsync(data_) != 0) raise_errno(data_path_, "flush to disk", errno);
  rename_durably(data_path_, blob_);
  ::unlink(state_path_.c_str());
}

}  // namespace aquatint::hub
