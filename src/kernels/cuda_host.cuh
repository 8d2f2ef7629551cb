// What the host's side of CUDA kernels asks before it starts them.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

namespace aquatint::kernels::cuda {

inline bool aligned16(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

// Whether rows of `columns` 4-byte values at these addresses can be moved four at a time.
template <typename... Pointers>
bool in_fours(int64_t columns, Pointers... pointers) {
  return columns % 4 == 0 && (aligned16(pointers) && ...);
}

// Lets `kernel` use that much shared memory; the error, if the device has less.
template <typename Kernel>
cudaError_t allow_shared(Kernel kernel, size_t bytes) {
  constexpr size_t kAlways = 48 * 1024;
  if (bytes <= kAlways) return cudaSuccess;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(bytes));
}

}  // namespace aquatint::kernels::cuda
