// Working memory of kernels: one buffer per thread, kept between calls and only ever grown, so that
// running a model allocates nothing after the first steps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace aquatint::kernels {

// At least `bytes` bytes, aligned to 64, that are this thread's until its next call. Their first
// content is zeros, later whatever was left there.
inline void* thread_scratch(std::int64_t bytes) {
  struct Deleter {
    void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  thread_local std::unique_ptr<std::byte, Deleter> buffer;
  thread_local std::int64_t capacity = 0;
  if (bytes > capacity) {
    buffer.reset();
    capacity = 0;
    const auto size = static_cast<std::size_t>(bytes);
    buffer.reset(static_cast<std::byte*>(::operator new (size, std::align_val_t{64})));
    std::fill_n(buffer.get(), size, std::byte{0});
    capacity = bytes;
  }
  return buffer.get();
}

}  // namespace aquatint::kernels
