// The instructions that quantized products are made of and that CUDA C++ has no name for, beside
// those of kernels/cuda_ptx.cuh.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda_ptx.cuh"

namespace aquatint::kernels {
namespace {

// Copies 16 bytes, or zeros if `zeros`, to shared memory without waiting. By a predicate, where
// cuda::copy_async takes a number of bytes: other instructions in the innermost loop.
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
