#include "quantize/working_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/atomic_file.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kJournal = "journal.jsonl";
// A replaced output waits here, inside the folder that replaces it, until the new one has its name.
constexpr const char* kReplaced = "replaced";

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::symlink_status(path, error).type() != fs::file_type::not_found && !error;
}

// Whether `inner` is `outer` or lies in it; false when either cannot be resolved.
bool lies_in(const fs::path& inner, const fs::path& outer) {
  std::error_code error;
  const fs::path root = fs::canonical(outer, error);
  if (error) return false;
  fs::path at = fs::canonical(inner, error);
  while (!error && at != root && at != at.parent_path()) at = at.parent_path();
  return !error && at == root;
}

}  // namespace

WorkingFolder::WorkingFolder(const fs::path& output) : final_(output.lexically_normal()) {
  if (!final_.has_filename()) final_ = final_.parent_path();
  const std::string name = final_.filename().string();
  if (name.empty() || name == "." || name == "..") {
    raise(ErrorKind::kInvalidArgument, "output '{}': name a folder to be made", output.string());
  }
  path_ = final_;
  path_ += ".partial";
}

fs::path WorkingFolder::journal() const {
  return path_ / kJournal;
}

bool WorkingFolder::awaits_tidying() const {
  return is_there(final_ / kJournal);
}

bool WorkingFolder::finish_publishing(const std::string& fingerprint) const {
  if (!awaits_tidying()) return false;
  if (read_text_file(final_ / kJournal).find(fingerprint) == std::string::npos) return false;
  tidy();
  return true;
}

void WorkingFolder::check_source(const fs::path& source) const {
  for (const fs::path& path : {final_, path_}) {
    if (!lies_in(source, path)) continue;
    raise(ErrorKind::kInvalidArgument, "output '{}': '{}' is or holds the model to be read",
          final_.string(), path.string());
  }
}

void WorkingFolder::check(bool overwrite) const {
  if (is_there(final_)) {
    const std::string name = final_.string();
    if (!overwrite) {
      raise(ErrorKind::kInvalidArgument, "'{}' exists; choose another output or allow overwriting",
            name);
    }
    std::error_code error;
    if (!fs::is_directory(final_, error) ||
        (!is_there(final_ / "config.json") && !fs::is_empty(final_, error))) {
      raise(ErrorKind::kInvalidArgument, "'{}' is not a model folder and is not overwritten", name);
    }
  }
  std::error_code error;
  if (is_there(path_) && !is_there(journal()) &&
      (!fs::is_directory(path_, error) || !fs::is_empty(path_, error))) {
    raise(ErrorKind::kInvalidArgument, "'{}' is in the way and not of an unfinished run",
          path_.string());
  }
}

void WorkingFolder::check_place() const {
  std::error_code error;
  fs::path place = fs::absolute(path_, error).parent_path();
  while (!is_there(place) && place != place.parent_path()) place = place.parent_path();
  if (!fs::is_directory(place, error)) {
    raise(ErrorKind::kIo, "output '{}': '{}' is not a folder", final_.string(), place.string());
  }
  if (::access(place.c_str(), W_OK) != 0) {
    raise(ErrorKind::kIo, "output '{}': cannot write to folder '{}': {}", final_.string(),
          place.string(), std::strerror(errno));
  }
}

void WorkingFolder::create() const {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) raise(ErrorKind::kIo, "'{}': {}", path_.string(), error.message());
}

void WorkingFolder::publish(bool overwrite) const {
  std::error_code error;
  sync_path(path_);
  if (overwrite && is_there(final_)) {
    fs::remove_all(path_ / kReplaced, error);
    rename_durably(final_, path_ / kReplaced);
  }
  rename_durably(path_, final_);
  tidy();
}

// The journal goes last: while it is there, the next run knows that there is something to tidy.
void WorkingFolder::tidy() const {
  std::error_code error;
  fs::remove_all(final_ / kReplaced, error);
  fs::remove(final_ / kJournal, error);
}

std::int64_t WorkingFolder::reserved_bytes() const {
  std::int64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator it(path_, error), end; !error && it != end; it.increment(error)) {
    struct stat info {};
    if (::lstat(it->path().c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
      total += std::int64_t{info.st_blocks} * 512;
    }
  }
  return total;
}

void WorkingFolder::remove() const {
  std::error_code error;
  fs::remove_all(path_, error);
}

}  // namespace aquatint
