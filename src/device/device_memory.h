// Memory of GPUs: an allocator that keeps what is freed for the next request of about the same
// size, because asking the driver waits for the GPU, and that refuses to pass a limit. Freed memory
// is reused in stream order, which is safe because a device has one stream (stream.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "device/device.h"

namespace aquatint {

// At least `bytes`, aligned to 256, uninitialized; given back when the last copy goes. REQUIRES: a
// GPU. Error kOutOfMemory says how much was asked for and how much is free.
std::shared_ptr<void> allocate_on(Device device, std::size_t bytes);

// Host memory that GPUs copy from and to without a detour. REQUIRES: a GPU can be used.
std::shared_ptr<void> allocate_pinned(std::size_t bytes);

struct DeviceMemory {
  std::int64_t total_bytes = 0, free_bytes = 0;  // of the card, as the driver sees it
  std::int64_t used_bytes = 0;                   // held by this program's tensors
  std::int64_t peak_bytes = 0;                   // most of that so far
  std::int64_t cached_bytes = 0;                 // freed and kept
  std::int64_t limit_bytes = 0;                  // of used and cached together; 0: none
};
DeviceMemory device_memory(Device device);

// The most memory this program takes of a GPU; 0 for all there is.
void set_device_memory_limit(Device device, std::int64_t bytes);
void reset_peak_device_memory(Device device);
// Gives what was freed and kept back to the driver, for other processes to use.
void release_cached_device_memory(Device device);

}  // namespace aquatint
