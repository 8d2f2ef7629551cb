// A file being written under a temporary name beside its final one. Both the text writer and the
// safetensors writer stand on it, so that no reader ever sees half a file under its final name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace aquatint {

enum class PartialMode {
  kFresh,     // start over; leave nothing behind unless committed
  kContinue,  // keep what an interrupted run wrote, and keep it again if this run is interrupted
};

class PartialFile {
 public:
  // Creates "<path>.partial" (replacing what an interrupted run may have left) and, where the file
  // system can, reserves `size` bytes, so that a full disk is known at once. Error kIo, naming
  // `path`.
  PartialFile(std::filesystem::path path, std::uint64_t size,
              PartialMode mode = PartialMode::kFresh);
  // Removes the temporary file unless commit() succeeded or the mode is kContinue.
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  // Writes `size` bytes at `offset`, all of them. Error kIo.
  void write_at(std::uint64_t offset, const void* data, std::size_t size);
  // Flushes what was written so far to disk. Error kIo.
  void flush();
  // Flushes to disk and renames to the final path. Error kIo.
  void commit();

  const std::filesystem::path& path() const { return path_; }

 private:
  void close_descriptor();
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
  PartialMode mode_;
  bool committed_ = false;
};

}  // namespace aquatint
