#include "device/device_memory.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/memory.h"
#include "device/cuda_library.h"
#include "device/stream.h"

namespace aquatint {
namespace {

constexpr std::size_t kSmall = std::size_t{1} << 20;
constexpr std::size_t kSmallStep = 512, kLargeStep = std::size_t{1} << 20;

std::size_t rounded(std::size_t bytes) {
  const std::size_t step = bytes < kSmall ? kSmallStep : kLargeStep;
  return (std::max<std::size_t>(bytes, 1) + step - 1) / step * step;
}

class Pool {
 public:
  explicit Pool(Device device) : device_(device) {}

  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    // Up to an eighth more than needed is better than another trip to the driver.
    const auto found = cache_.lower_bound(bytes);
    if (found != cache_.end() && found->first <= bytes + bytes / 8) {
      void* memory = found->second;
      account(static_cast<std::int64_t>(found->first), -static_cast<std::int64_t>(found->first));
      sizes_[memory] = found->first;
      cache_.erase(found);
      return memory;
    }
    void* memory = fresh(bytes);
    sizes_[memory] = bytes;
    account(static_cast<std::int64_t>(bytes), 0);
    return memory;
  }

  void give_back(void* memory) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(memory);
    const std::size_t bytes = found->second;
    sizes_.erase(found);
    cache_.emplace(bytes, memory);
    account(-static_cast<std::int64_t>(bytes), static_cast<std::int64_t>(bytes));
  }

  DeviceMemory state() {
    const std::lock_guard lock(mutex_);
    DeviceMemory result = state_;
    cuda::check(
        cuda::runtime()->memory_info(device_.index, &result.free_bytes, &result.total_bytes),
        device_.str());
    return result;
  }

  void set_limit(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    state_.limit_bytes = bytes;
  }

  void release_cached() {
    const std::lock_guard lock(mutex_);
    drop_cache();
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    state_.peak_bytes = state_.used_bytes;
  }

 private:
  void account(std::int64_t used, std::int64_t cached) {
    state_.used_bytes += used;
    state_.cached_bytes += cached;
    state_.peak_bytes = std::max(state_.peak_bytes, state_.used_bytes);
  }

  void drop_cache() {
    for (const auto& [bytes, memory] : cache_) {
      static_cast<void>(cuda::runtime()->release(device_.index, memory));
    }
    cache_.clear();
    state_.cached_bytes = 0;
  }

  bool within_limit(std::size_t bytes) const {
    return state_.limit_bytes == 0 ||
           state_.used_bytes + state_.cached_bytes + static_cast<std::int64_t>(bytes) <=
               state_.limit_bytes;
  }

  void* fresh(std::size_t bytes) {
    void* memory = nullptr;
    if (!within_limit(bytes)) drop_cache();
    if (within_limit(bytes)) {
      if (cuda::runtime()->allocate(device_.index, bytes, &memory) == 0) return memory;
      drop_cache();
      if (cuda::runtime()->allocate(device_.index, bytes, &memory) == 0) return memory;
    }
    std::int64_t free = 0, total = 0;
    cuda::check(cuda::runtime()->memory_info(device_.index, &free, &total), device_.str());
    if (state_.limit_bytes > 0) free = std::min(free, state_.limit_bytes - state_.used_bytes);
    raise(ErrorKind::kOutOfMemory, "'{}': {} more are needed, {} of {} are free{}", device_.str(),
          format_bytes(static_cast<std::int64_t>(bytes)), format_bytes(free), format_bytes(total),
          state_.limit_bytes > 0
              ? fmt::format(" within the limit of {}", format_bytes(state_.limit_bytes))
              : "");
  }

  Device device_;
  std::mutex mutex_;
  std::multimap<std::size_t, void*> cache_;
  std::map<void*, std::size_t> sizes_;
  DeviceMemory state_;
};

// Pools live to the end of the program: tensors in static storage may outlive any other order.
Pool& pool(Device device) {
  AQUATINT_ASSERT(device.is_cuda() && cuda::runtime() != nullptr);
  static std::mutex mutex;
  static auto* pools = new std::map<int, Pool*>;
  const std::lock_guard lock(mutex);
  Pool*& found = (*pools)[device.index];
  if (found == nullptr) found = new Pool(device);
  return *found;
}

}  // namespace

std::shared_ptr<void> allocate_on(Device device, std::size_t bytes) {
  Pool& from = pool(device);
  return {from.take(rounded(bytes)), [&from](void* memory) { from.give_back(memory); }};
}

std::shared_ptr<void> allocate_pinned(std::size_t bytes) {
  void* memory = nullptr;
  if (cuda::runtime()->allocate_pinned(bytes, &memory) != 0) {
    raise(ErrorKind::kOutOfMemory, "cannot pin {} of host memory",
          format_bytes(static_cast<std::int64_t>(bytes)));
  }
  return {memory, [](void* p) { static_cast<void>(cuda::runtime()->release_pinned(p)); }};
}

DeviceMemory device_memory(Device device) {
  return pool(device).state();
}

void set_device_memory_limit(Device device, std::int64_t bytes) {
  pool(device).set_limit(bytes);
}

void release_cached_device_memory(Device device) {
  Stream::of(device).synchronize();
  pool(device).release_cached();
}

void reset_peak_device_memory(Device device) {
  pool(device).reset_peak();
}

}  // namespace aquatint
