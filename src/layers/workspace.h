// Scratch memory of a forward pass, on the device that runs it: a stack of blocks that is reused
// from one pass to the next, so that running a model allocates nothing after the first steps. Not
// thread-safe; one per thread of control.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/stream.h"
#include "tensor/tensor.h"

namespace aquatint {

class Workspace {
 public:
  explicit Workspace(Stream& stream = Stream::cpu()) : stream_(&stream) {}
  Stream& stream() const { return *stream_; }
  // Uninitialized memory for n values, aligned to 64 bytes, valid until the enclosing Scope ends.
  template <typename T>
  T* take(std::int64_t n) {
    return reinterpret_cast<T*>(take_bytes(static_cast<std::size_t>(n) * sizeof(T)));
  }
  // Bytes reserved so far: the high-water mark, rounded up to blocks.
  std::size_t reserved_bytes() const;

  // Gives back everything taken during its life.
  class Scope {
   public:
    explicit Scope(Workspace& workspace)
        : workspace_(workspace), block_(workspace.block_), used_(workspace.used_) {}
    ~Scope() {
      workspace_.block_ = block_;
      workspace_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    std::size_t block_, used_;
  };

 private:
  std::byte* take_bytes(std::size_t n);
  Stream* stream_;
  std::vector<Tensor> blocks_;
  std::size_t block_ = 0;  // index of the block in use
  std::size_t used_ = 0;   // bytes taken of it
};

}  // namespace aquatint
