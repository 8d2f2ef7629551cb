#include "quantize/journal.h"

#include <fcntl.h>
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
  std::error_code error;
  if (std::filesystem::exists(path_, error)) read(fingerprint);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) raise(ErrorKind::kIo, "'{}': {}", path_.string(), std::strerror(errno));
  const bool empty = ::lseek(fd_, 0, SEEK_END) == 0;
  if (empty) append(json{{"run", fingerprint}}.dump());
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
      if (!line.is_object() || line.value("run", "") != fingerprint) {
        raise(ErrorKind::kInvalidArgument,
              "'{}' holds an unfinished run of another model, recipe or version; delete that folder "
              "or choose another output", path_.parent_path().string());
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

void Journal::append(const std::string& line) {
  const std::string text = line + "\n";
  const ssize_t written = ::write(fd_, text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size()) || ::fdatasync(fd_) != 0) {
    raise(ErrorKind::kIo, "'{}': {}", path_.string(), std::strerror(errno));
  }
}

void Journal::finish(const std::string& unit) {
  append(json{{"unit", unit}}.dump());
  done_.insert(unit);
}

}  // namespace aquatint
