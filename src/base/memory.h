// What this process and this machine have: for preflight checks and for reports of peak memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace aquatint {

// Highest resident set size of this process so far, in bytes.
std::int64_t peak_resident_bytes();
std::int64_t resident_bytes();
// Restarts the peak measurement at the present size (Linux: /proc/self/clear_refs). False if
// refused.
bool reset_peak_resident();
// Memory the system could give this process now, in bytes (cgroup limits included).
std::int64_t available_memory_bytes();
// Free space for an unprivileged user on the file system of `path` or of its nearest existing
// parent.
std::int64_t free_disk_bytes(const std::filesystem::path& path);
// Returns freed heap memory to the system, after work that needed much more of it than what
// follows.
void release_free_memory();
// "1.5 GiB", "312.0 MiB", "17 B".
std::string format_bytes(std::int64_t bytes);

}  // namespace aquatint
