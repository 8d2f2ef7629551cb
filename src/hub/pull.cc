#include "hub/pull.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "hub/cache.h"
#include "hub/client.h"
#include "hub/download.h"
#include "hub/glob.h"
#include "hub/partial_download.h"

namespace aquatint::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSpareBytes = std::uint64_t{64} << 20;  // that a download leaves free

// What all of one pull shares.
struct Pull {
  const RepoName& repo;
  const Settings& settings;
  const PullOptions& options;
  RepoCache cache;
  RepoInfo info;
  std::vector<std::string> selected;
  std::vector<FileInfo> missing;  // that are to be downloaded
  PullResult result;
};

// Progress in MiB of bytes that arrive one buffer at a time.
class ByteProgress {
 public:
  ByteProgress(const std::string& label, std::uint64_t total)
      : progress_(label, "MiB", static_cast<std::int64_t>(total >> kShift)) {}
  void advance(std::int64_t bytes) {
    bytes_ += bytes;
    const std::int64_t now = std::max<std::int64_t>(0, bytes_) >> kShift;
    progress_.advance(now - shown_);
    shown_ = now;
  }

 private:
  static constexpr int kShift = 20;
  Progress progress_;
  std::int64_t bytes_ = 0, shown_ = 0;
};

// Asks about several files at once. `names` without a snapshot's file are answered in order; one
// that the commit does not have is empty.
std::vector<std::optional<FileInfo>> ask_about(const Pull& pull,
                                               const std::vector<std::string>& names) {
  std::vector<std::optional<FileInfo>> answers(names.size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto work = [&] {
    try {
      Client client(pull.settings);
      for (std::size_t i = next++; i < names.size(); i = next++) {
        answers[i] = client.file_info(pull.repo, pull.info.commit, names[i]);
      }
    } catch (...) {
      next = names.size();
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  const auto most = static_cast<std::size_t>(std::max(1, pull.options.connections));
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
  return answers;
}

// Sorts the selected files into those that the snapshot has and those to be downloaded.
void plan(Pull& pull) {
  std::vector<std::string> asked;
  for (const std::string& name : pull.selected) {
    std::error_code error;
    if (pull.cache.has(pull.info.commit, name)) {
      const auto size = fs::file_size(pull.cache.snapshot(pull.info.commit) / name, error);
      pull.result.files.push_back({name, error ? 0 : size, true});
    } else {
      asked.push_back(name);
    }
  }
  const auto answers = ask_about(pull, asked);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (!answers[i]) {
      if (!pull.options.dry_run) pull.cache.note_missing(pull.info.commit, asked[i]);
      raise(ErrorKind::kNotFound, "'{}': the Hub lists file '{}' but does not have it",
            pull.repo.str(), asked[i]);
    }
    std::error_code error;
    const bool have = fs::exists(pull.cache.blob(answers[i]->etag), error);
    pull.result.files.push_back({asked[i], answers[i]->size, have});
    pull.missing.push_back(*answers[i]);
  }
}

// Bytes that are still to come for the missing files.
std::uint64_t bytes_to_come(const Pull& pull) {
  std::uint64_t total = 0;
  std::vector<std::string> counted;
  for (const FileInfo& file : pull.missing) {
    const fs::path blob = pull.cache.blob(file.etag);
    std::error_code error;
    if (fs::exists(blob, error) ||
        std::find(counted.begin(), counted.end(), file.etag) != counted.end()) {
      continue;
    }
    counted.push_back(file.etag);
    total += file.size - PartialDownload::bytes_left_of(blob, file.size, Downloader::kPieceBytes);
  }
  return total;
}

void check_disk(const Pull& pull, std::uint64_t bytes) {
  const std::int64_t free = free_disk_bytes(pull.settings.cache);
  if (bytes == 0 || free < 0 || bytes + kSpareBytes <= static_cast<std::uint64_t>(free)) return;
  raise(ErrorKind::kOutOfMemory, "'{}': {} are to be downloaded to '{}'; {} of disk are free",
        pull.repo.str(), format_bytes(static_cast<std::int64_t>(bytes)),
        pull.settings.cache.string(), format_bytes(free));
}

// Downloads what plan() found missing.
void download(Pull& pull) {
  const std::uint64_t bytes = bytes_to_come(pull);
  pull.result.bytes_downloaded += bytes;
  if (pull.options.dry_run || pull.missing.empty()) return;
  check_disk(pull, bytes);
  pull.cache.create();
  if (bytes > 0) {
    log(LogLevel::kInfo, "downloading {} of '{}' from {}",
        format_bytes(static_cast<std::int64_t>(bytes)), pull.repo.str(), pull.settings.endpoint);
  }
  ByteProgress progress("downloading " + pull.repo.str(), bytes);
  Downloader downloader(pull.settings, pull.options.connections);
  for (const FileInfo& file : pull.missing) {
    downloader.download(pull.repo, pull.info.commit, file, pull.cache,
                        [&](std::int64_t n) { progress.advance(n); });
  }
}

// Files of a repository without weights in a form that is taken by itself, for an error message.
std::string other_weights(const RepoInfo& info) {
  std::string names;
  for (const std::string& name : info.files) {
    if (!name.ends_with(".gguf")) continue;
    names += (names.empty() ? "" : ", ") + name;
  }
  return names.empty() ? "" : "; choose one of its GGUF files with --include: " + names;
}

// Without patterns of the user a model must come of it; `selected` gains the shards of the index.
void complete_selection(Pull& pull) {
  const auto has = [&](const std::string& name) {
    return std::find(pull.selected.begin(), pull.selected.end(), name) != pull.selected.end();
  };
  const bool weights = std::any_of(pull.info.files.begin(), pull.info.files.end(), holds_weights);
  if (!weights) {
    raise(ErrorKind::kNotFound, "'{}': it has neither safetensors nor PyTorch weights{}",
          pull.repo.str(), other_weights(pull.info));
  }
  const std::string index = index_among(pull.selected);
  if (index.empty()) return;
  // The index says which files there are, so it is downloaded before the rest is planned.
  const std::vector<std::string> all = pull.selected;
  pull.selected = {index};
  plan(pull);
  download(pull);
  const bool here = pull.cache.has(pull.info.commit, index);  // not so with dry_run
  const std::string text =
      here ? read_text_file(pull.cache.snapshot(pull.info.commit) / index)
           : Client(pull.settings).small_file(pull.repo, pull.info.commit, index);
  pull.missing.clear();
  pull.selected = all;
  std::erase(pull.selected, index);
  for (const std::string& shard : shards_of(text, pull.repo.str() + ": " + index)) {
    if (std::find(pull.info.files.begin(), pull.info.files.end(), shard) == pull.info.files.end()) {
      raise(ErrorKind::kCorrupt, "'{}': '{}' names file '{}', which the repository does not have",
            pull.repo.str(), index, shard);
    }
    if (!any_matches(pull.options.exclude, shard) && !has(shard)) pull.selected.push_back(shard);
  }
}

PullResult from_cache(const RepoName& repo, const Settings& settings) {
  const RepoCache cache(settings.cache, repo.name);
  const auto commit = cache.commit_of(repo.revision);
  if (!commit) {
    raise(ErrorKind::kNotFound,
          "'{}': there is neither such a folder nor a download of revision '{}' in '{}', and "
          "nothing is downloaded offline",
          repo.str(), repo.revision, cache.folder().string());
  }
  PullResult result{cache.snapshot(*commit), *commit, {}, 0};
  std::error_code error;
  for (fs::recursive_directory_iterator it(result.folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (!fs::is_regular_file(it->path(), ignored)) continue;
    result.files.push_back({it->path().lexically_relative(result.folder).generic_string(),
                            fs::file_size(it->path(), ignored), true});
  }
  std::sort(result.files.begin(), result.files.end(),
            [](const PulledFile& a, const PulledFile& b) { return a.name < b.name; });
  return result;
}

}  // namespace

PullResult pull(const RepoName& repo, const Settings& settings, const PullOptions& options) {
  if (settings.offline) return from_cache(repo, settings);
  Pull pull{repo, settings, options, RepoCache(settings.cache, repo.name), {}, {}, {}, {}};
  pull.info = Client(settings).repo_info(repo);
  pull.result.commit = pull.info.commit;
  pull.result.folder = pull.cache.snapshot(pull.info.commit);
  pull.selected = select_files(pull.info.files, options.include, options.exclude);
  if (options.include.empty()) complete_selection(pull);
  if (pull.selected.empty() && pull.result.files.empty()) {
    raise(ErrorKind::kNotFound, "'{}': none of its {} files is selected by the patterns",
          repo.str(), pull.info.files.size());
  }
  plan(pull);
  download(pull);
  // Last, so that a name leads to the new snapshot when that is complete.
  if (!options.dry_run) pull.cache.write_ref(repo.revision, pull.info.commit);
  return pull.result;
}

bool is_complete_model(const fs::path& folder) {
  std::error_code error;
  const auto has = [&](const std::string& name) { return fs::exists(folder / name, error); };
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  // A GGUF file holds everything, and is only there because someone chose it.
  const auto gguf = [](const std::string& name) { return name.ends_with(".gguf"); };
  if (std::any_of(names.begin(), names.end(), gguf)) return true;
  if (!has("config.json")) return false;
  const std::vector<std::string> selected = select_files(names, {}, {});
  const std::string index = index_among(selected);
  if (index.empty()) return std::any_of(selected.begin(), selected.end(), holds_weights);
  const std::vector<std::string> shards =
      shards_of(read_text_file(folder / index), (folder / index).string());
  return std::all_of(shards.begin(), shards.end(), has);
}

bool names_download(const std::string& model) {
  std::error_code error;
  return !fs::exists(model, error) && is_repo_name(model);
}

fs::path find_download(const RepoName& repo, const Settings& settings) {
  const RepoCache cache(settings.cache, repo.name);
  const auto commit = cache.commit_of(repo.revision);
  if (commit && (settings.offline || is_complete_model(cache.snapshot(*commit)))) {
    return cache.snapshot(*commit);
  }
  if (!settings.offline) {
    log(LogLevel::kInfo, "'{}' is neither a folder nor a complete download in '{}'", repo.str(),
        settings.cache.string());
  }
  return pull(repo, settings).folder;
}

}  // namespace aquatint::hub
