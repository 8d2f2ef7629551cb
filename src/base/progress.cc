#include "base/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

namespace aquatint {
namespace {

ProgressSink& sink() {
  static ProgressSink instance;
  return instance;
}

constexpr double kQuietSeconds = 2.0;
constexpr double kRedrawSeconds = 0.1;

void draw(const ProgressUpdate& update) {
  if (update.seconds < kQuietSeconds) return;
  if (update.finished) {
    std::fputs("\r\x1b[K", stderr);
    std::fflush(stderr);
    return;
  }
  const double rate = static_cast<double>(update.done) / update.seconds;
  std::string line = fmt::format("\r\x1b[K{}: {}", *update.label, update.done);
  if (update.total > 0) line += fmt::format("/{}", update.total);
  line += fmt::format(" {}, {:.4g}/s", *update.unit, rate);
  if (update.total > 0 && rate > 0) {
    const double left = static_cast<double>(update.total - update.done) / rate;
    line += fmt::format(", {} left", format_duration(left));
  }
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace

void set_progress_sink(ProgressSink new_sink) {
  sink() = std::move(new_sink);
}

ProgressSink terminal_progress_sink() {
  if (::isatty(STDERR_FILENO) == 0) return {};
  return draw;
}

std::string format_duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

Progress::Progress(std::string label, std::string unit, std::int64_t total)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

Progress::~Progress() {
  report(true);
}

void Progress::advance(std::int64_t n) {
  done_ += n;
  const auto now = std::chrono::steady_clock::now();
  if (std::chrono::duration<double>(now - last_).count() < kRedrawSeconds) return;
  last_ = now;
  report(false);
}

void Progress::report(bool finished) {
  if (!sink()) return;
  const auto now = std::chrono::steady_clock::now();
  sink()({&label_, &unit_, done_, total_, std::chrono::duration<double>(now - start_).count(),
          finished});
}

}  // namespace aquatint
