#include "base/write_all.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace aquatint {

int write_all(int fd, std::uint64_t offset, const void* data, std::size_t size) {
  // Linux writes at most 2 GiB a call; smaller pieces also keep a failing disk responsive.
  constexpr std::size_t kPiece = std::size_t{64} << 20;
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::pwrite(fd, bytes, std::min(size, kPiece), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n == 0 ? ENOSPC : errno;
    bytes += n;
    offset += static_cast<std::uint64_t>(n);
    size -= static_cast<std::size_t>(n);
  }
  return 0;
}

}  // namespace aquatint
