// Progress of anything that may take more than two seconds. The library reports through this class;
// what is shown, if anything, is the front end's choice: it installs a sink.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace aquatint {

struct ProgressUpdate {
  const std::string* label;  // what is being done
  const std::string* unit;   // what is counted: "tokens", "blocks", "bytes"
  std::int64_t done = 0;
  std::int64_t total = 0;  // 0 when unknown
  double seconds = 0;      // since the start
  bool finished = false;
};

using ProgressSink = std::function<void(const ProgressUpdate&)>;

// Installs the sink all Progress objects report to (none by default). Call before work starts.
void set_progress_sink(ProgressSink sink);
// A sink that redraws one line on standard error with rate and time left, from the second second
// on; empty (so nothing is shown) when standard error is not a terminal.
ProgressSink terminal_progress_sink();
// "1h 02m", "3m 20s", "12s".
std::string format_duration(double seconds);

class Progress {
 public:
  Progress(std::string label, std::string unit, std::int64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // Not thread-safe: call from the thread that made the object.
  void advance(std::int64_t n);
  // Says what is being done now, in a task of several parts.
  void relabel(std::string label) { label_ = std::move(label); }

 private:
  void report(bool finished);
  std::string label_, unit_;
  std::int64_t done_ = 0, total_;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace aquatint
