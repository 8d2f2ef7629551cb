// The directory of a ZIP file whose entries are stored without compression, as PyTorch writes its
// checkpoints: each entry is then a range of the mapped file. A hostile file must not make two
// readers see two contents, so nothing in it may contradict anything else: entries do not overlap,
// no name occurs twice, local headers agree with the directory (docs/formats/torch.md).
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace aquatint {

struct ZipEntry {
  std::size_t offset = 0;  // of its first byte, in the file
  std::size_t size = 0;
};

// Whether a file begins as a ZIP file does.
bool is_zip(std::span<const std::byte> file);

// Entries by name; those that stand for folders are left out. `origin` is what error messages call
// the file. Error kCorrupt; kUnsupported for compressed or encrypted entries and for archives of
// several disks. ZIP64 is read.
std::map<std::string, ZipEntry> read_zip_directory(std::span<const std::byte> file,
                                                   const std::string& origin);

}  // namespace aquatint
