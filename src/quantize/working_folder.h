// Where a run writes until its output is complete: "<output>.partial", beside the final name. It is
// checked before anything is written, and moved under the final name in steps of which each may be
// the last one that a killed process takes: the next run finds either name and carries on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace aquatint {

class WorkingFolder {
 public:
  // Only names things; touches nothing. Error kInvalidArgument for an output without a name of its
  // own (".").
  explicit WorkingFolder(const std::filesystem::path& output);

  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& final_path() const { return final_; }
  std::filesystem::path journal() const;

  // Tidies up after a run with this fingerprint that was killed between publishing and tidying.
  // False when there is none: the output is not complete.
  bool finish_publishing(const std::string& fingerprint) const;
  // Error kInvalidArgument when the output is the folder `source` or holds it.
  void check_source(const std::filesystem::path& source) const;
  // Error kInvalidArgument when the output exists and is not to be replaced (`overwrite` unset, or
  // no model folder), or when the working folder is of something else.
  void check(bool overwrite) const;
  // Error kIo when the folder that it would be made in is none, or may not be written.
  void check_place() const;
  // Whether a run was killed between publishing and tidying.
  bool awaits_tidying() const;
  // Makes the folder. Error kIo.
  void create() const;
  // Renames the folder to the final name and then drops what it replaced and the journal. Error
  // kIo.
  void publish(bool overwrite) const;
  // Bytes that an unfinished run has reserved on disk already.
  std::int64_t reserved_bytes() const;
  void remove() const;

 private:
  void tidy() const;
  std::filesystem::path final_, path_;
};

}  // namespace aquatint
