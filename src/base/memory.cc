#include "base/memory.h"

#include <fmt/core.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>

namespace aquatint {
namespace {

// A "Key:   123 kB" line of a /proc file, in bytes; -1 when it is missing.
std::int64_t proc_kilobytes(const char* file_name, const std::string& key) {
  std::ifstream file(file_name);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key + ":", 0) == 0) return std::stoll(line.substr(key.size() + 1)) * 1024;
  }
  return -1;
}

// A number in a one-line file ("max" or a missing file give -1).
std::int64_t number_in_file(const char* file_name) {
  std::ifstream file(file_name);
  std::int64_t value = -1;
  return (file >> value) ? value : -1;
}

}  // namespace

std::int64_t peak_resident_bytes() {
  return proc_kilobytes("/proc/self/status", "VmHWM");
}

std::int64_t resident_bytes() {
  return proc_kilobytes("/proc/self/status", "VmRSS");
}

bool reset_peak_resident() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5";
  file.flush();
  return file.good();
}

std::int64_t available_memory_bytes() {
  std::int64_t available = proc_kilobytes("/proc/meminfo", "MemAvailable");
  const std::int64_t limit = number_in_file("/sys/fs/cgroup/memory.max");
  const std::int64_t used = number_in_file("/sys/fs/cgroup/memory.current");
  if (limit > 0 && used >= 0)
    available = std::min(available, std::max<std::int64_t>(0, limit - used));
  return available;
}

std::int64_t free_disk_bytes(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path existing = std::filesystem::absolute(path, error);
  while (!existing.empty() && !std::filesystem::exists(existing, error)) {
    if (existing == existing.parent_path()) break;
    existing = existing.parent_path();
  }
  const auto space = std::filesystem::space(existing, error);
  if (error) return std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(space.available);
}

void release_free_memory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

std::string format_bytes(std::int64_t bytes) {
  static constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace aquatint
