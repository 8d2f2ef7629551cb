// Downloads of whole models, and the one place that decides where a model named on a command line
// is: a folder, the cache of downloads, or a Hub.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "hub/repo_name.h"
#include "hub/settings.h"

namespace aquatint::hub {

struct PullOptions {
  // Shell patterns (hub/glob.h). Without any to include: the files that a model needs.
  std::vector<std::string> include, exclude;
  int connections = 8;
  bool dry_run = false;  // say what would be downloaded, and write nothing
};

struct PulledFile {
  std::string name;
  std::uint64_t size = 0;  // bytes
  bool was_cached = false;
};

struct PullResult {
  std::filesystem::path folder;  // the snapshot, a model folder
  std::string commit;
  std::vector<PulledFile> files;
  std::uint64_t bytes_downloaded = 0;  // with dry_run: that would be
};

// Brings the files of a repository into the cache, with progress. Files that are there already are
// not asked for again. Offline, and that is an error (kNotFound) unless the snapshot is there.
// Errors besides those of Client and Downloader: kNotFound when no file is selected or a model
// lacks configuration or weights, kOutOfMemory when the disk has no room, before anything is
// downloaded.
PullResult pull(const RepoName& repo, const Settings& settings, const PullOptions& options = {});

// Whether a folder has a configuration and all files of its weights, or a GGUF file.
bool is_complete_model(const std::filesystem::path& folder);

// Whether a model named so is one to download: ORG/NAME[@revision], and no file or folder here.
bool names_download(const std::string& model);
// The folder of a model to download: the snapshot in the cache, if it is a complete model, else
// what pull() downloads. Error kNotFound, when offline, says where it was looked for.
std::filesystem::path find_download(const RepoName& repo, const Settings& settings);

}  // namespace aquatint::hub
