// The journal of a run, so that one killed at any moment continues where it stopped: a text file in
// the run's working folder with one line of JSON per finished unit. A line is written only after
// the unit's bytes are on disk; a torn last line is ignored. The first line carries the fingerprint
// of weights and recipe; a run with another fingerprint does not continue this one.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace aquatint {

class Journal {
 public:
  // Opens or starts the journal at `path` and locks it until this object goes. Error
  // kInvalidArgument when it belongs to another run or another process holds the lock.
  Journal(std::filesystem::path path, const std::string& fingerprint);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  bool done(const std::string& unit) const { return done_.count(unit) > 0; }
  std::size_t finished_units() const { return done_.size(); }
  // Appends the units and flushes the file to disk. Error kIo.
  void finish(const std::vector<std::string>& units);

 private:
  void lock();
  void read(const std::string& fingerprint);
  void append(const std::string& text);
  std::filesystem::path path_;
  std::set<std::string> done_;
  int fd_ = -1;
};

}  // namespace aquatint
