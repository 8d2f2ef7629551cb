// Instructions of NVIDIA GPUs that CUDA C++ has no name for and that several kernels use:
// asynchronous copies to shared memory, and a product on the tensor cores.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

namespace aquatint::kernels::cuda {

// Copies kBytes (4 or 16) to shared memory, or zeros when not `valid`; `global` is an address of
// the array in any case. Arrives at the latest when wait_copies lets its group pass.
template <int kBytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(global), "r"(bytes)
                 : "memory");
  }
}

// Ends a group of copies, which may be empty.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most kPending groups of this thread's copies are under way.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// d[16, 8] += a[16, 16] b[16, 8] in bfloat16. With r = lane / 4 and t = lane % 4:
//   a: (r, 2t..), (r+8, 2t..), (r, 2t+8..), (r+8, 2t+8..)     b: (2t.., r), (2t+8.., r)
//   d: (r, 2t), (r, 2t+1), (r+8, 2t), (r+8, 2t+1)
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace aquatint::kernels::cuda
