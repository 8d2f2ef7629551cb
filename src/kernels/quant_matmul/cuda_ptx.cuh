// The instructions that quantized products are made of and that CUDA C++ has no name for.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

namespace aquatint::kernels {
namespace {

// Copies 16 bytes, or zeros if `zeros`, to shared memory without waiting.
__device__ __forceinline__ void copy_async16(void* shared, const void* global, bool zeros) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile(
      "{\n"
      ".reg .pred ignored;\n"
      "setp.ne.b32 ignored, %2, 0;\n"
      "cp.async.cg.shared.global [%0], [%1], 16, ignored;\n"
      "}" ::"r"(to),
      "l"(global), "r"(static_cast<int>(zeros))
      : "memory");
}

// The same for 16 bytes of weights, which are read once: whole cache lines are fetched.
__device__ __forceinline__ void copy_async_weights(void* shared, const void* global) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(global)
               : "memory");
}

// Copies 4 bytes, or zeros.
__device__ __forceinline__ void copy_async4(void* shared, const void* global, bool zeros) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = zeros ? 0 : 4;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(global), "r"(bytes)
               : "memory");
}

// Ends a group of copies, which may be empty.
__device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `kPending` of this thread's groups are under way.
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// d[16, 8] += a[16, 16] b[16, 8] in bfloat16. Of lane 4g + t: a holds columns 2t, 2t + 1 of rows g
// and g + 8, then columns 2t + 8, 2t + 9; b the same rows of column g; d columns 2t, 2t + 1 of rows
// g and g + 8.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// d[16, 8] += a[16, 32] b[32, 8] in int8, with columns 4t..4t + 3 and 4t + 16..4t + 19.
__device__ __forceinline__ void mma_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                       uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// (a & kMask) | kOr in one instruction, which the compiler would rather make two.
template <uint32_t kMask, uint32_t kOr>
__device__ __forceinline__ uint32_t and_or(uint32_t a) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(a), "n"(kMask), "n"(kOr));
  return result;
}

// (a ^ kXor) & kMask, likewise.
template <uint32_t kXor, uint32_t kMask>
__device__ __forceinline__ uint32_t xor_and(uint32_t a) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0x28;" : "=r"(result) : "r"(a), "n"(kXor), "n"(kMask));
  return result;
}

// a - b of two bfloat16 pairs, as a * 1 + -b because sm_80 has no subtraction.
__device__ __forceinline__ uint32_t subtract_bf16x2(uint32_t a, uint32_t b) {
  uint32_t result;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;"
      : "=r"(result)
      : "r"(a), "r"(0x3f803f80u), "r"(b ^ 0x80008000u));
  return result;
}

}  // namespace
}  // namespace aquatint::kernels
