#include "hub/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/atomic_file.h"

namespace aquatint::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestEtag = 200;
constexpr std::size_t kLongestRef = 4096;

bool is_commit(std::string_view text) {
  constexpr std::size_t kDigits = 40;
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

void make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) raise(ErrorKind::kIo, "'{}': {}", folder.string(), error.message());
}

// "org/model" -> "models--org--model".
std::string folder_name(const std::string& repo) {
  std::string name = "models--";
  for (const char c : repo) {
    if (c == '/') {
      name += "--";
    } else {
      name += c;
    }
  }
  return name;
}

// What the link at `from` must say to lead to `to`, both below `root`.
fs::path relative_target(const fs::path& to, const fs::path& from) {
  return to.lexically_relative(from.parent_path());
}

bool same_file(int fd, const fs::path& path) {
  struct stat opened {
  }, named{};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

}  // namespace

std::string normalize_etag(std::string_view header, const std::string& origin) {
  std::string_view etag = header;
  while (!etag.empty() && (etag.front() == 'W' || etag.front() == '/')) etag.remove_prefix(1);
  while (!etag.empty() && etag.front() == '"') etag.remove_prefix(1);
  while (!etag.empty() && etag.back() == '"') etag.remove_suffix(1);
  const bool name = std::all_of(etag.begin(), etag.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
  if (etag.empty() || etag.size() > kLongestEtag || etag.front() == '.' || !name) {
    raise(ErrorKind::kCorrupt, "{}: the server's etag '{}' can be no file name", origin, header);
  }
  return std::string(etag);
}

RepoCache::RepoCache(fs::path cache, const std::string& repo)
    : cache_(std::move(cache)), name_(folder_name(repo)) {
  folder_ = cache_ / name_;
}

fs::path RepoCache::blob(const std::string& etag) const {
  return folder_ / "blobs" / etag;
}

fs::path RepoCache::snapshot(const std::string& commit) const {
  return folder_ / "snapshots" / commit;
}

fs::path RepoCache::lock(const std::string& etag) const {
  return cache_ / ".locks" / name_ / (etag + ".lock");
}

std::optional<std::string> RepoCache::commit_of(const std::string& revision) const {
  std::error_code error;
  const fs::path ref = folder_ / "refs" / revision;
  std::string commit = revision;
  if (!is_commit(revision)) {
    if (!fs::is_regular_file(ref, error)) return std::nullopt;
    commit = read_text_file(ref, kLongestRef);
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r')) commit.pop_back();
  }
  if (commit.empty() || commit.find('/') != std::string::npos || !is_safe_path(commit) ||
      !fs::is_directory(snapshot(commit), error)) {
    return std::nullopt;
  }
  return commit;
}

bool RepoCache::has(const std::string& commit, const std::string& file) const {
  std::error_code error;
  return fs::exists(snapshot(commit) / file, error);  // follows the link
}

void RepoCache::create() const {
  make_folders(folder_ / "blobs");
  const fs::path tag = cache_ / "CACHEDIR.TAG";
  std::error_code error;
  if (fs::exists(tag, error)) return;
  // https://bford.info/cachedir/
  write_text_file(tag,
                  "Signature: 8a477f597d28d172789f06886806bc55\n"
                  "# Downloads from a Hub of models; they can be made again.\n");
}

void RepoCache::write_ref(const std::string& revision, const std::string& commit) const {
  if (revision == commit || commit_of(revision) == commit) return;
  const fs::path ref = folder_ / "refs" / revision;
  make_folders(ref.parent_path());
  write_text_file(ref, commit);  // without a line end, as Python reads it
}

void RepoCache::link(const std::string& commit, const std::string& file,
                     const std::string& etag) const {
  const fs::path path = snapshot(commit) / file;
  const fs::path target = relative_target(blob(etag), path);
  std::error_code error;
  if (fs::read_symlink(path, error) == target) return;
  make_folders(path.parent_path());
  fs::remove(path, error);
  if (::symlink(target.c_str(), path.c_str()) == 0) return;
  const int code = errno;
  if (code == EEXIST && has(commit, file)) return;  // another program was quicker
  if (code != EPERM && code != EOPNOTSUPP && code != ENOSYS) {
    raise(ErrorKind::kIo, "'{}': cannot link to '{}': {}", path.string(), target.string(),
          std::strerror(code));
  }
  fs::copy_file(blob(etag), path, error);
  if (error) raise(ErrorKind::kIo, "'{}': {}", path.string(), error.message());
}

void RepoCache::note_missing(const std::string& commit, const std::string& file) const {
  const fs::path path = folder_ / ".no_exist" / commit / file;
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd >= 0) ::close(fd);
}

CacheLock::CacheLock(const fs::path& file, const std::function<void()>& waiting) {
  make_folders(file.parent_path());
  bool told = false;
  while (true) {
    // Several users may share a cache, so the group may open the file too.
    fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
    if (fd_ < 0) {
      raise(ErrorKind::kIo, "'{}': cannot make the lock file: {}", file.string(),
            std::strerror(errno));
    }
    const int code = ::flock(fd_, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    const bool held = code == EWOULDBLOCK || code == EINTR || code == EACCES;
    // Whoever had the lock may have removed the file: then this is a lock on nothing.
    if (!held && (code != 0 || same_file(fd_, file))) return;
    ::close(fd_);
    fd_ = -1;
    if (!held) continue;
    if (!told && waiting) waiting();
    told = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

CacheLock::~CacheLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace aquatint::hub
