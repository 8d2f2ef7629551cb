// Files and folders that appear complete or not at all: written under a temporary name beside the
// final one, flushed to disk, then renamed.
#pragma once

#include <filesystem>
#include <string_view>

namespace aquatint {

// Writes the text to `path` atomically. Error kIo with path and reason.
void write_text_file(const std::filesystem::path& path, std::string_view text);
// Flushes a file or folder to disk. Error kIo.
void sync_path(const std::filesystem::path& path);
// Renames `from` to `to` and flushes the parent folder. Error kIo; an existing `to` is replaced if
// it is a file and is an error if it is a folder that is not empty.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace aquatint
