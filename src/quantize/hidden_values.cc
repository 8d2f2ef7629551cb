#include "quantize/hidden_values.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/memory.h"
#include "base/write_all.h"

namespace aquatint {
namespace {

// Reads `size` bytes at `offset`. Returns 0 or the errno of the call that failed; EIO at the end of
// the file.
int read_all(int fd, std::int64_t offset, void* data, std::size_t size) {
  char* bytes = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = ::pread(fd, bytes, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n == 0 ? EIO : errno;
    bytes += n;
    offset += n;
    size -= static_cast<std::size_t>(n);
  }
  return 0;
}

bool is_full(int code) {
  return code == ENOSPC || code == EDQUOT || code == EFBIG;
}

}  // namespace

HiddenValues::HiddenValues(std::int64_t rows, std::int64_t columns, std::int64_t memory_bytes,
                           const std::filesystem::path& folder)
    : columns_(columns), folder_(folder) {
  const std::int64_t bytes = rows * columns * static_cast<std::int64_t>(sizeof(float));
  if (bytes <= memory_bytes) {
    values_ = Tensor::empty({rows, columns}, DType::kF32);
  } else {
    make_file(bytes);
  }
}

HiddenValues::~HiddenValues() {
  if (file_ >= 0) ::close(file_);
}

// Takes the whole size now, so that a disk that is too small says so before hours of work.
void HiddenValues::make_file(std::int64_t bytes) {
  if (folder_.empty()) folder_ = std::filesystem::temp_directory_path();
  if (const std::int64_t free = free_disk_bytes(folder_); free >= 0 && bytes > free) {
    raise_full(bytes);
  }
  std::string name = (folder_ / "aquatint-hidden-XXXXXX").string();
  file_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (file_ < 0) raise_errno("cannot make a file for hidden values there", errno);
  ::unlink(name.c_str());
  const int code = ::posix_fallocate(file_, 0, static_cast<off_t>(bytes));
  if (code == 0) return;
  ::close(file_);  // there will be no destructor
  if (is_full(code)) raise_full(bytes);
  raise_errno("cannot make a file for hidden values there", code);
}

void HiddenValues::raise_full(std::int64_t bytes) const {
  raise(ErrorKind::kOutOfMemory,
        "'{}': the hidden values of the calibration data need {} of disk; {} are free; fewer "
        "samples need less",
        folder_.string(), format_bytes(bytes), format_bytes(free_disk_bytes(folder_)));
}

void HiddenValues::raise_errno(const char* what, int code) const {
  raise(is_full(code) ? ErrorKind::kOutOfMemory : ErrorKind::kIo, "'{}': {}: {}", folder_.string(),
        what, std::strerror(code));
}

float* HiddenValues::place(std::int64_t first, std::int64_t n) {
  first_ = first;
  rows_ = n;
  if (!in_file()) return values_.mutable_data<float>() + first * columns_;
  if (!values_.defined() || values_.dim(0) < n) {
    values_ = Tensor::empty({n, columns_}, DType::kF32);
  }
  return values_.mutable_data<float>();
}

float* HiddenValues::load(std::int64_t first, std::int64_t n) {
  float* rows = place(first, n);
  if (!in_file()) return rows;
  const auto row_bytes = columns_ * static_cast<std::int64_t>(sizeof(float));
  const int code =
      read_all(file_, first * row_bytes, rows, static_cast<std::size_t>(n * row_bytes));
  if (code != 0) raise_errno("cannot read hidden values back", code);
  return rows;
}

void HiddenValues::store() {
  if (!in_file()) return;
  const auto row_bytes = columns_ * static_cast<std::int64_t>(sizeof(float));
  const int code = write_all(file_, static_cast<std::uint64_t>(first_ * row_bytes),
                             values_.data<float>(), static_cast<std::size_t>(rows_ * row_bytes));
  if (code != 0) raise_errno("cannot write hidden values", code);
}

}  // namespace aquatint
