// Writing to a file descriptor until everything is written.
#pragma once

#include <cstddef>
#include <cstdint>

namespace aquatint {

// Writes `size` bytes at `offset`, however many calls it takes. Returns 0, or the errno of the call
// that failed; ENOSPC where nothing could be written.
int write_all(int fd, std::uint64_t offset, const void* data, std::size_t size);

}  // namespace aquatint
