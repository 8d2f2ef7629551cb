#include "formats/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "formats/partial_file.h"

namespace aquatint {

void write_text_file(const std::filesystem::path& path, std::string_view text) {
  PartialFile file(path, text.size());
  file.write_at(0, text.data(), text.size());
  file.commit();
}

void sync_path(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    raise(ErrorKind::kIo, "'{}': cannot open to flush: {}", path.string(), std::strerror(errno));
  }
  const int code = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  // Some file systems cannot flush a folder and say EINVAL; there is nothing more to be done there.
  if (code != 0 && code != EINVAL) {
    raise(ErrorKind::kIo, "'{}': cannot flush to disk: {}", path.string(), std::strerror(code));
  }
}

void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    raise(ErrorKind::kIo, "'{}': cannot rename '{}' to it: {}", to.string(), from.string(),
          std::strerror(errno));
  }
  const std::filesystem::path parent = to.parent_path();
  sync_path(parent.empty() ? std::filesystem::path(".") : parent);
}

}  // namespace aquatint
