#include "hub/download.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "hub/digest.h"
#include "hub/partial_download.h"
#include "hub/retries.h"

namespace aquatint::hub {
namespace {

constexpr int kPartial = 206, kWhole = 200, kRangeNotThere = 416;
constexpr std::size_t kHashBytes = std::size_t{1} << 20;  // at a time

}  // namespace

std::optional<std::uint64_t> first_byte_of(std::string_view content_range) {
  constexpr std::string_view kPrefix = "bytes ";
  if (!content_range.starts_with(kPrefix)) return std::nullopt;
  std::uint64_t value = 0;
  const char* end = content_range.data() + content_range.size();
  const auto result = std::from_chars(content_range.data() + kPrefix.size(), end, value);
  const bool range = result.ec == std::errc() && result.ptr != end && *result.ptr == '-';
  return range ? std::optional(value) : std::nullopt;
}

// The transfer of one file's missing pieces by several threads.
class Downloader::Transfer {
 public:
  Transfer(const RepoName& repo, const FileInfo& file, const std::string& commit,
           PartialDownload& partial)
      : repo_(repo),
        file_(file),
        commit_(commit),
        partial_(partial),
        what_(fmt::format("'{}': file '{}'", repo.str(), file.name)) {}

  // Fetches what is missing. While it does, the calling thread passes on what arrives and hashes
  // what has no hole before it. False when the server gives whole files only and there are several
  // pieces: then nothing is complete.
  bool run(std::vector<std::unique_ptr<Client>>& clients, ContentDigest& digest,
           const BytesSink& arrived);
  // Adds what is not hashed yet.
  void hash(ContentDigest& digest);
  const std::string& what() const { return what_; }

 private:
  void work(Client& client);
  void fetch(Client& client, std::size_t piece);
  bool take(std::size_t piece, std::uint64_t begin, const HttpResponse& response,
            std::string_view bytes);
  [[noreturn]] void refuse(const Client& client, const HttpResponse& response) const;
  void fail(std::exception_ptr error);
  std::optional<FileAddress> remembered();
  void remember(std::optional<FileAddress> address);

  const RepoName& repo_;
  const FileInfo& file_;
  const std::string& commit_;
  PartialDownload& partial_;
  std::string what_;
  std::uint64_t hashed_ = 0;
  std::vector<std::size_t> missing_;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stop_{false}, whole_only_{false};
  std::mutex mutex_;  // of what follows
  std::condition_variable ended_;
  std::size_t working_ = 0;
  std::exception_ptr error_;
  std::optional<FileAddress> address_;  // where redirects led
};

bool Downloader::Transfer::run(std::vector<std::unique_ptr<Client>>& clients, ContentDigest& digest,
                               const BytesSink& arrived) {
  for (std::size_t i = 0; i < partial_.pieces(); ++i) {
    if (partial_.received(i) < partial_.length(i)) missing_.push_back(i);
  }
  working_ = std::min(clients.size(), missing_.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < working_; ++i) {
    threads.emplace_back([this, client = clients[i].get()] { work(*client); });
  }
  auto before = static_cast<std::int64_t>(partial_.received());
  const auto pass_on = [&] {
    const auto now = static_cast<std::int64_t>(partial_.received());
    if (now != before) arrived(now - before);
    before = now;
  };
  try {
    std::unique_lock lock(mutex_);
    while (working_ > 0) {
      ended_.wait_for(lock, std::chrono::milliseconds(100));
      lock.unlock();
      pass_on();
      if (partial_.pieces() > 1) hash(digest);  // one piece may start over
      lock.lock();
    }
  } catch (...) {
    fail(std::current_exception());
  }
  for (std::thread& thread : threads) thread.join();
  if (whole_only_) {
    arrived(-before);
    return false;
  }
  if (error_) std::rethrow_exception(error_);
  pass_on();
  return true;
}

void Downloader::Transfer::hash(ContentDigest& digest) {
  if (!digest.known()) return;
  std::vector<char> buffer(kHashBytes);
  const std::uint64_t end = partial_.contiguous();
  while (hashed_ < end && !stop_) {
    const std::size_t n =
        static_cast<std::size_t>(std::min<std::uint64_t>(kHashBytes, end - hashed_));
    partial_.read(hashed_, buffer.data(), n);
    digest.update(buffer.data(), n);
    hashed_ += n;
  }
}

void Downloader::Transfer::work(Client& client) {
  try {
    for (std::size_t i = next_++; i < missing_.size() && !stop_; i = next_++) {
      fetch(client, missing_[i]);
    }
  } catch (...) {
    fail(std::current_exception());
  }
  const std::lock_guard lock(mutex_);
  --working_;
  ended_.notify_all();
}

void Downloader::Transfer::fail(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  stop_ = true;
}

// Every thread starts where redirects led the last one: the Hub counts requests, and a redirect is
// good for all ranges of a file.
std::optional<FileAddress> Downloader::Transfer::remembered() {
  const std::lock_guard lock(mutex_);
  return address_;
}

void Downloader::Transfer::remember(std::optional<FileAddress> address) {
  const std::lock_guard lock(mutex_);
  address_ = std::move(address);
}

void Downloader::Transfer::fetch(Client& client, std::size_t piece) {
  Retries retries(client.settings().patience, what_, &stop_);
  const std::uint64_t length = partial_.length(piece), end = partial_.begin(piece) + length;
  while (partial_.received(piece) < length && !stop_) {
    const std::uint64_t before = partial_.received(piece);
    const std::uint64_t begin = partial_.begin(piece) + before;
    const bool all = begin == 0 && end == partial_.size();  // asked for in the plainest way
    const std::optional<FileAddress> redirected = remembered();
    FileAddress from = redirected.value_or(client.address_of(repo_, commit_, file_.name));
    HttpResponse response = client.read(from, begin, all ? std::nullopt : std::optional(end),
                                        [&](const HttpResponse& so_far, std::string_view bytes) {
                                          return take(piece, begin, so_far, bytes);
                                        });
    if (stop_) return;
    if (partial_.received(piece) > before) retries.arrived();
    if (partial_.received(piece) == length) return remember(from);
    remember(std::nullopt);  // redirects are good for some minutes only
    if (response.failure_lasts) {
      raise(ErrorKind::kIo, "{}: {}", what_, describe_failure(response));
    }
    if (!Retries::may_pass(response)) {
      // What a Hub says stays so; a server that it redirects to may only want a new address.
      const std::string origin = url_origin(from.url);
      const bool hub = origin == url_origin(client.settings().endpoint);
      if (response.status >= 400 && hub && !redirected) refuse(client, response);
      response.failure = response.status >= 400
                             ? fmt::format("{} answers {}", origin, response.status)
                             : fmt::format("the transfer ended at {} of {} bytes",
                                           partial_.received(piece), length);
    }
    if (!retries.again(response) && !stop_) {
      raise(ErrorKind::kIo, "{}: {}; what has arrived is kept for the next try", what_,
            describe_failure(response));
    }
  }
}

// Bytes of a piece. False ends the transfer.
bool Downloader::Transfer::take(std::size_t piece, std::uint64_t begin,
                                const HttpResponse& response, std::string_view bytes) {
  if (stop_) return false;
  const std::uint64_t received = partial_.received(piece);
  if (response.status == kWhole && (begin > 0 || partial_.pieces() > 1)) {
    whole_only_ = true;
    stop_ = true;
    return false;
  }
  if (response.status == kPartial) {
    const auto first = first_byte_of(response.header("content-range"));
    if (first != begin) {
      raise(ErrorKind::kCorrupt, "{}: the server sends range '{}', byte {} and on was asked for",
            what_, response.header("content-range"), begin);
    }
  }
  if (bytes.size() > partial_.length(piece) - received) {
    raise(ErrorKind::kCorrupt, "{}: the server sends more than the {} bytes that it announced",
          what_, partial_.size());
  }
  partial_.append(piece, bytes.data(), bytes.size());
  return true;
}

void Downloader::Transfer::refuse(const Client& client, const HttpResponse& response) const {
  if (response.status == kRangeNotThere) {
    raise(ErrorKind::kCorrupt, "{}: the file has fewer bytes than the {} that the server announced",
          what_, partial_.size());
  }
  client.refuse(repo_, file_.name, response);
}

Downloader::Downloader(const Settings& settings, int connections, std::uint64_t piece_bytes)
    : settings_(settings), piece_bytes_(piece_bytes) {
  for (int i = 0; i < std::max(1, connections); ++i) {
    clients_.push_back(std::make_unique<Client>(settings_));
  }
}

Downloader::~Downloader() = default;

// Fetches and checks until the contents are right. What an earlier run left may be wrong, so wrong
// contents are fetched once more.
void Downloader::fill(const RepoName& repo, const std::string& commit, const FileInfo& file,
                      PartialDownload& partial, const BytesSink& arrived) {
  int restarts = 0;
  bool was_wrong = false;
  while (true) {
    ContentDigest digest(file.etag, file.size);
    Transfer transfer(repo, file, commit, partial);
    if (!transfer.run(clients_, digest, arrived)) {
      if (++restarts > settings_.patience.tries) {
        raise(ErrorKind::kIo, "{}: the server sends whole files only, and breaks off each time",
              transfer.what());
      }
      partial.restart(std::max<std::uint64_t>(1, file.size));
      continue;
    }
    transfer.hash(digest);
    const std::string found = digest.known() ? digest.hex() : file.etag;
    if (found == file.etag) return;
    arrived(-static_cast<std::int64_t>(partial.received()));
    partial.restart(piece_bytes_);
    if (was_wrong) {
      raise(ErrorKind::kCorrupt, "{}: its {} is {}; the Hub says {}", transfer.what(),
            digest.name(), found, file.etag);
    }
    was_wrong = true;
    log(LogLevel::kInfo, "{}: its {} is wrong; downloading it once more", transfer.what(),
        digest.name());
  }
}

void Downloader::download(const RepoName& repo, const std::string& commit, const FileInfo& file,
                          const RepoCache& cache, const BytesSink& arrived) {
  const std::filesystem::path blob = cache.blob(file.etag);
  std::error_code error;
  const CacheLock lock(cache.lock(file.etag), [&] {
    log(LogLevel::kInfo, "'{}': file '{}': waiting for another program that downloads it",
        repo.str(), file.name);
  });
  if (!std::filesystem::exists(blob, error)) {
    PartialDownload partial(blob, file.size, piece_bytes_);
    fill(repo, commit, file, partial, arrived);
    partial.commit();
  }
  cache.link(commit, file.name, file.etag);
}

}  // namespace aquatint::hub
