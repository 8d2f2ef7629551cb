// A kernel of the CUDA module, by name: how an operation's dispatch (kernels/<op>/<op>.cc) calls
// kernels/<op>/cuda.cu without linking it.
#pragma once

#include <atomic>

#include "device/cuda_library.h"
#include "device/stream.h"

namespace aquatint {

// `Args` is the plain struct of the operation; the module defines
//   extern "C" int NAME(const Args* args, const CudaLaunch* launch) noexcept;
// which queues the work and returns 0 or the CUDA error's code.
template <typename Args>
class CudaKernel {
 public:
  constexpr explicit CudaKernel(const char* name) : name_(name) {}

  // Error kDevice when the kernel cannot be started.
  void operator()(Stream& stream, const Args& args, int tag = 0) const {
    using Entry = int (*)(const Args*, const CudaLaunch*);
    void* entry = entry_.load(std::memory_order_acquire);
    if (entry == nullptr) {
      entry = cuda::symbol(name_);
      entry_.store(entry, std::memory_order_release);
    }
    const CudaLaunch launch = stream.launch(tag);
    if (const int code = reinterpret_cast<Entry>(entry)(&args, &launch)) cuda::check(code, name_);
  }

 private:
  const char* name_;
  mutable std::atomic<void*> entry_ = nullptr;
};

}  // namespace aquatint
