// A file of known size that arrives in pieces, several at once, and may be interrupted at any
// moment: "<blob>.aquatint.incomplete" with holes, and beside it
// "<blob>.aquatint.state.incomplete", which counts the bytes of each piece that are there. The
// names differ from those of huggingface_hub because older versions of it take a partial file to
// have no holes.
//
// The counts follow the bytes, so a killed process loses nothing; after a power failure they may
// lie, which the hash of the whole file tells.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace aquatint::hub {

class PartialDownload {
 public:
  // Continues what was left for this blob, a "<blob>.incomplete" of older versions of
  // huggingface_hub included, or starts anew. Error kIo naming the file.
  PartialDownload(std::filesystem::path blob, std::uint64_t size, std::uint64_t piece_bytes);
  ~PartialDownload();  // leaves everything for the next one, unless committed
  PartialDownload(const PartialDownload&) = delete;
  PartialDownload& operator=(const PartialDownload&) = delete;

  // Bytes that were left for the blob, without opening or changing anything.
  static std::uint64_t bytes_left_of(const std::filesystem::path& blob, std::uint64_t size,
                                     std::uint64_t piece_bytes);

  std::uint64_t size() const { return size_; }
  std::size_t pieces() const { return received_.size(); }
  std::uint64_t begin(std::size_t piece) const { return piece * piece_bytes_; }
  std::uint64_t length(std::size_t piece) const;
  // Bytes that are there: of a piece from its beginning, of the file, and of the file until the
  // first hole.
  std::uint64_t received(std::size_t piece) const { return received_[piece].load(); }
  std::uint64_t received() const;
  std::uint64_t contiguous() const;
  bool complete() const { return received() == size_; }

  // Appends to a piece. Threads may write to different pieces. REQUIRES that it has room. Error kIo
  // or kOutOfMemory (full disk).
  void append(std::size_t piece, const void* data, std::size_t size);
  // Reads bytes that are there. Error kIo.
  void read(std::uint64_t offset, void* data, std::size_t size) const;
  // Forgets everything, and from now on has pieces of this size. No other thread may be at it.
  void restart(std::uint64_t piece_bytes);
  // Flushes to disk and gives the file its final name. Error kIo. REQUIRES complete().
  void commit();

 private:
  bool continue_state();
  void write_state(std::uint64_t offset, const void* data, std::size_t size) const;
  void adopt_prefix(const std::filesystem::path& file);
  std::filesystem::path blob_, data_path_, state_path_;
  std::uint64_t size_, piece_bytes_;
  std::vector<std::atomic<std::uint64_t>> received_;
  int data_ = -1, state_ = -1;
};

}  // namespace aquatint::hub
