#include "base/large_pages.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace aquatint {
namespace {

constexpr std::size_t kAlignment = 64;
// Below this, the heap: it finds what was freed, and sanitizers see where it ends.
constexpr std::size_t kFewestBytes = std::size_t{64} << 10;

std::shared_ptr<void> allocate_on_heap(std::size_t bytes) {
  constexpr std::align_val_t kAlign{kAlignment};
  void* memory = ::operator new(std::max<std::size_t>(bytes, 1), kAlign, std::nothrow);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0, bytes);
  return {memory, [](void* p) { ::operator delete(p, kAlign); }};
}

#if defined(__linux__)

constexpr std::size_t kLargePage = std::size_t{2} << 20;
constexpr std::size_t kBlockBytes = std::size_t{64} << 20;

std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

struct Block {
  explicit Block(std::size_t bytes) : mapped_bytes(bytes + kLargePage) {
    mapped = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return;
    const auto first = round_up(reinterpret_cast<std::uintptr_t>(mapped), kLargePage);
    next = reinterpret_cast<std::byte*>(first);
    left = bytes;
    // Best effort: where it is refused, everything works on small pages.
    madvise(next, bytes, MADV_HUGEPAGE);
  }
  ~Block() {
    if (mapped != MAP_FAILED) munmap(mapped, mapped_bytes);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void* mapped;
  std::size_t mapped_bytes;
  std::byte* next = nullptr;
  std::size_t left = 0;
};

#endif

}  // namespace

std::shared_ptr<void> allocate_on_large_pages(std::size_t bytes) {
#if defined(__linux__)
  if (bytes >= kFewestBytes && bytes < std::numeric_limits<std::size_t>::max() / 2) {
    static std::mutex mutex;
    static std::weak_ptr<Block> latest;
    const std::lock_guard lock(mutex);
    const std::size_t size = round_up(bytes, kAlignment);
    std::shared_ptr<Block> block = latest.lock();
    if (block == nullptr || block->left < size) {
      block = std::make_shared<Block>(std::max(kBlockBytes, round_up(size, kLargePage)));
      if (block->left == 0) return nullptr;
      latest = block;
    }
    void* memory = block->next;
    block->next += size;
    block->left -= size;
    return {std::move(block), memory};
  }
#endif
  return allocate_on_heap(bytes);
}

}  // namespace aquatint
