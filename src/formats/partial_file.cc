#include "formats/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/write_all.h"
#include "formats/atomic_file.h"

namespace aquatint {
namespace {

[[noreturn]] void raise_errno(const std::filesystem::path& path, const char* what, int code) {
  raise(ErrorKind::kIo, "'{}': {}: {}", path.string(), what, std::strerror(code));
}

// Reserves disk blocks. File systems without that ability are left alone: the writes will tell.
void reserve(int fd, std::uint64_t size, const std::filesystem::path& path) {
  if (size == 0) return;
  int code = 0;
  do {
    code = ::fallocate(fd, 0, 0, static_cast<off_t>(size)) == 0 ? 0 : errno;
  } while (code == EINTR);
  if (code == 0 || code == EOPNOTSUPP || code == ENOSYS || code == EINVAL) return;
  raise(ErrorKind::kIo, "'{}': cannot reserve {} bytes: {}", path.string(), size,
        std::strerror(code));
}

}  // namespace

PartialFile::PartialFile(std::filesystem::path path, std::uint64_t size, PartialMode mode)
    : path_(std::move(path)), temporary_(path_.string() + ".partial"), mode_(mode) {
  const int truncate = mode == PartialMode::kFresh ? O_TRUNC : 0;
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | truncate | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd_ < 0) raise_errno(path_, "cannot create the file", errno);
  try {
    // What an interrupted run left may be longer: nothing may follow the end of the new file.
    struct stat info {};
    if (::fstat(fd_, &info) == 0 && static_cast<std::uint64_t>(info.st_size) > size &&
        ::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
      raise_errno(path_, "cannot shorten the file", errno);
    }
    reserve(fd_, size, path_);
  } catch (...) {
    close_descriptor();
    if (mode == PartialMode::kFresh) ::unlink(temporary_.c_str());
    throw;
  }
}

PartialFile::~PartialFile() {
  close_descriptor();
  if (!committed_ && mode_ == PartialMode::kFresh) ::unlink(temporary_.c_str());
}

void PartialFile::close_descriptor() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void PartialFile::write_at(std::uint64_t offset, const void* data, std::size_t size) {
  const int code = write_all(fd_, offset, data, size);
  if (code != 0) raise_errno(path_, "cannot write", code);
}

void PartialFile::flush() {
  if (::fdatasync(fd_) != 0) raise_errno(path_, "cannot flush to disk", errno);
}

void PartialFile::commit() {
  if (::fsync(fd_) != 0) raise_errno(path_, "cannot flush to disk", errno);
  // Network file systems report late write errors on close.
  const int code = ::close(std::exchange(fd_, -1)) == 0 ? 0 : errno;
  if (code != 0 && code != EINTR) raise_errno(path_, "cannot close", code);
  rename_durably(temporary_, path_);
  committed_ = true;
}

}  // namespace aquatint
