// Brings one file of a repository into the cache: ranges of it over several connections at once,
// what an earlier run left continued, and the whole compared with the hash that the Hub names.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "hub/cache.h"
#include "hub/client.h"

namespace aquatint::hub {

class PartialDownload;

// Called from the thread that downloads with the bytes that have arrived since the last call, which
// may be negative when bytes had to be dropped.
using BytesSink = std::function<void(std::int64_t bytes)>;

// The first byte of a Content-Range header: 100 of "bytes 100-199/1000". Empty when it has none.
std::optional<std::uint64_t> first_byte_of(std::string_view content_range);

class Downloader {
 public:
  static constexpr std::uint64_t kPieceBytes = std::uint64_t{16} << 20;
  // At most `connections` at once, which stay open from file to file.
  Downloader(const Settings& settings, int connections, std::uint64_t piece_bytes = kPieceBytes);
  ~Downloader();
  Downloader(const Downloader&) = delete;
  Downloader& operator=(const Downloader&) = delete;

  // Makes the blob of the file, unless it is there, and links the snapshot's file to it. Holds the
  // cache's lock for the blob meanwhile. A failure leaves what has arrived for the next try. Error
  // kIo for a connection that fails again and again or a refusal, kCorrupt for contents that do not
  // have their hash after two tries, kOutOfMemory for a full disk.
  void download(const RepoName& repo, const std::string& commit, const FileInfo& file,
                const RepoCache& cache, const BytesSink& arrived);
  std::uint64_t piece_bytes() const { return piece_bytes_; }

 private:
  class Transfer;
  void fill(const RepoName& repo, const std::string& commit, const FileInfo& file,
            PartialDownload& partial, const BytesSink& arrived);
  Settings settings_;
  std::uint64_t piece_bytes_;
  std::vector<std::unique_ptr<Client>> clients_;  // one per thread
};

}  // namespace aquatint::hub
