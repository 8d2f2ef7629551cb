// Kernels of one stream that overlap (programmatic dependent launch, from sm_90 on): the blocks of
// a kernel may start when all those of the kernel before it have called begin_work(), and read what
// never changes, weights, while the earlier kernel ends. Hides most of what a short kernel takes
// to start. Elsewhere kernels follow one another as always.
//
// The rules, for every kernel that launch_overlapped starts:
// - All its threads call begin_work() once. Before that they write no memory of the device, and
//   read none but weights; what a kernel of the same stream wrote, or reads after this one writes
//   it, is there, or done with, only afterwards.
// - A kernel lets the next one start only after it has waited itself, so when a kernel waits for
//   the one before it, all earlier ones are done as well. begin_work() keeps that order.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

#include "device/cuda_launch.h"

namespace aquatint::kernels::cuda {

// Waits until all earlier kernels of the stream are done and their results are visible, then lets
// the next one start.
__device__ __forceinline__ void begin_work() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Brings the line of the L2 cache at `global` closer; right before begin_work() too, whoever writes
// there.
__device__ __forceinline__ void prefetch_l2(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

// Starts a kernel that keeps the rules above. Returns what cudaGetLastError() would.
template <typename... Parameters, typename... Arguments>
cudaError_t launch_overlapped(const CudaLaunch& launch, void (*kernel)(Parameters...), dim3 grid,
                              dim3 threads, size_t shared, const Arguments&... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = static_cast<cudaStream_t>(launch.stream);
  config.attrs = &attribute;
  config.numAttrs = launch.compute_capability >= 90 ? 1 : 0;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
  static_cast<void>(cudaGetLastError());  // reported once
  return error;
}

}  // namespace aquatint::kernels::cuda
