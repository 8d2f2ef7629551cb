// Internal to kernels/gla: the instructions of the GPU that its kernels alone use (loads of matrix
// fragments), and launching.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda_host.cuh"
#include "kernels/cuda_ptx.cuh"
#include "kernels/gla/cuda_args.h"

namespace aquatint::kernels {
namespace {

__device__ inline unsigned char* shared_memory() {
  extern __shared__ __align__(16) unsigned char memory[];
  return memory;
}

// Four 8 x 8 matrices of bfloat16; lane l passes the address of row l % 8 of matrix l / 8. Lane l
// receives columns 2 (l % 4) and the next of row l / 4 of each.
__device__ inline void load_matrices(uint32_t (&x)[4], const __nv_bfloat16* row) {
  const auto from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(from)
               : "memory");
}

// The same, each matrix transposed.
__device__ inline void load_matrices_transposed(uint32_t (&x)[4], const __nv_bfloat16* row) {
  const auto from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(from)
               : "memory");
}

// 2^x and the logarithm to base 2 as the special function unit has them, within about 2^-22.
__device__ inline float exp2_fast(float x) {
  asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
  return x;
}
__device__ inline float log2_fast(float x) {
  asm("lg2.approx.ftz.f32 %0, %0;" : "+f"(x));
  return x;
}

__device__ inline float shuffle_xor(float x, int mask) {
  return __shfl_xor_sync(0xffffffffU, x, mask);
}

template <typename... Parameters, typename... Arguments>
int launch_kernel(void (*kernel)(Parameters...), dim3 grid, int threads, int shared_bytes,
                  void* stream, const Arguments&... arguments) {
  const cudaError_t error = cuda::allow_shared(kernel, static_cast<size_t>(shared_bytes));
  if (error != cudaSuccess) return static_cast<int>(error);
  kernel<<<grid, static_cast<unsigned>(threads), static_cast<size_t>(shared_bytes),
           static_cast<cudaStream_t>(stream)>>>(arguments...);
  return static_cast<int>(cudaGetLastError());
}

// The most shared memory a block may have.
int shared_limit(int device) {
  int bytes = 48 * 1024;
  if (cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) !=
      cudaSuccess) {
    static_cast<void>(cudaGetLastError());
  }
  return bytes;
}

}  // namespace
}  // namespace aquatint::kernels
