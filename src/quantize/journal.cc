#include "quantize/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"

namespace aquatint {

using nlohmann::json;

Journal::Journal(std::filesystem::path path, const std::string& fingerprint)
    : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd_ < 0) raise(ErrorKind::kIo, "'{}': {}", path_.string(), std::strerror(errno));
  try {
    lock();
    read(fingerprint);
    if (::lseek(fd_, 0, SEEK_END) == 0) append(json{{"run", fingerprint}}.dump() + "\n");
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

// The lock goes with the descriptor, so a killed process leaves none. File systems without locks
// are let be.
void Journal::lock() {
  int code = 0;
  do {
    code = ::flock(fd_, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  } while (code == EINTR);
  // Whoever held the lock until now may have finished and moved the file away under its final name.
  struct stat opened {
  }, named{};
  const bool moved = ::fstat(fd_, &opened) != 0 || ::stat(path_.c_str(), &named) != 0 ||
                     opened.st_ino != named.st_ino || opened.st_dev != named.st_dev;
  if (code == EWOULDBLOCK || moved) {
    raise(ErrorKind::kInvalidArgument, "'{}': another run is writing there",
          path_.parent_path().string());
  }
}

Journal::~Journal() {
  if (fd_ >= 0) ::close(fd_);
}

void Journal::read(const std::string& fingerprint) {
  const std::string text = read_text_file(path_);
  std::size_t begin = 0, kept = 0;
  bool first = true;
  for (std::size_t end = text.find('\n'); end != std::string::npos;
       begin = end + 1, end = text.find('\n', begin)) {
    const json line = json::parse(text.substr(begin, end - begin), nullptr, false);
    if (first) {
      if (!line.is_object() || !line.contains("run") || line["run"] != fingerprint) {
        raise(
            ErrorKind::kInvalidArgument,
            "'{}' holds an unfinished run of another model, recipe or version; delete that folder "
            "or choose another output",
            path_.parent_path().string());
      }
      first = false;
    } else if (line.is_object() && line.contains("unit") && line["unit"].is_string()) {
      done_.insert(line["unit"].get<std::string>());
    } else {
      break;
    }
    kept = end + 1;
  }
  if (kept == text.size()) return;
  // Drop what an interrupted write left, so that new lines start on a fresh one.
  std::error_code error;
  std::filesystem::resize_file(path_, kept, error);
  if (error) raise(ErrorKind::kIo, "'{}': {}", path_.string(), error.message());
}

void Journal::append(const std::string& text) {
  const ssize_t written = ::write(fd_, text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size()) || ::fdatasync(fd_) != 0) {
    raise(ErrorKind::kIo, "'{}': {}", path_.string(), std::strerror(errno));
  }
}

void Journal::finish(const std::vector<std::string>& units) {
  std::string lines;
  for (const std::string& unit : units) lines += json{{"unit", unit}}.dump() + "\n";
  if (!units.empty()) append(lines);
  done_.insert(units.begin(), units.end());
}

}  // namespace aquatint
