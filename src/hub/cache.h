// The cache folder of Hub downloads in the layout of huggingface_hub, so that Python finds what we
// downloaded and the other way round:
//   models--ORG--NAME/blobs/<etag>                  contents, each once
//   models--ORG--NAME/snapshots/<commit>/<file>     relative links to blobs
//   models--ORG--NAME/refs/<branch or tag>          text: the commit it pointed to last
//   models--ORG--NAME/.no_exist/<commit>/<file>     empty: the commit has no such file
//   .locks/models--ORG--NAME/<etag>.lock            held (flock) by who makes the blob
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "hub/repo_name.h"

namespace aquatint::hub {

// An etag header as the name of a blob: without W/ and quotes. Error kCorrupt when what is left can
// be no file name; `origin` is what the message begins with.
std::string normalize_etag(std::string_view header, const std::string& origin);

class RepoCache {
 public:
  // Only names things; touches nothing.
  RepoCache(std::filesystem::path cache, const std::string& repo);

  const std::filesystem::path& folder() const { return folder_; }  // models--ORG--NAME
  std::filesystem::path blob(const std::string& etag) const;
  std::filesystem::path snapshot(const std::string& commit) const;
  std::filesystem::path lock(const std::string& etag) const;
  // The commit that a branch, tag or commit stands for, as far as the cache knows.
  std::optional<std::string> commit_of(const std::string& revision) const;
  // Whether the snapshot has the file, contents included.
  bool has(const std::string& commit, const std::string& file) const;

  // Makes the folders for blobs, and the mark that tells backup programs to pass the cache by.
  // Error kIo.
  void create() const;
  // Notes what a branch or tag points to; nothing for the commit itself. Error kIo.
  void write_ref(const std::string& revision, const std::string& commit) const;
  // Links the file of a snapshot to the blob; copies it where links cannot be made. Error kIo.
  void link(const std::string& commit, const std::string& file, const std::string& etag) const;
  // Notes that the commit has no such file. What cannot be noted is not.
  void note_missing(const std::string& commit, const std::string& file) const;

 private:
  std::filesystem::path cache_, folder_;
  std::string name_;  // of the folder
};

// Holds a lock file while it lives. Locks go with the process, and are those of Python's filelock.
// File systems without locks are let be: what is downloaded twice at once there is still checked.
class CacheLock {
 public:
  // Waits for whoever holds it; calls `waiting` once if it must. Error kIo when the file cannot be
  // made.
  CacheLock(const std::filesystem::path& file, const std::function<void()>& waiting);
  ~CacheLock();
  CacheLock(const CacheLock&) = delete;
  CacheLock& operator=(const CacheLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace aquatint::hub
