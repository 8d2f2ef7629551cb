// What every CUDA kernel entry receives beside its arguments. Plain data, because CUDA sources
// include it.
#pragma once

#include <cstddef>

namespace aquatint {

struct CudaLaunch {
  void* stream = nullptr;          // cudaStream_t
  void* blas = nullptr;            // cublasLtHandle_t
  void* blas_workspace = nullptr;  // device memory
  std::size_t blas_workspace_bytes = 0;
  // Device word that is 0 until a kernel meets NaN or infinity where finite numbers are needed; the
  // first to do so writes its tag (atomicCAS), from which the host makes the message.
  int* fault = nullptr;
  int tag = 0;  // above 0 when the caller wants values checked
  int device = 0;
  int multiprocessors = 0;
  int compute_capability = 0;  // 90 for sm_90
};

}  // namespace aquatint
