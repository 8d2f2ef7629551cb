// The functions of the CUDA module that are no kernels: memory, streams, graphs. The program does
// not link the CUDA runtime; it takes this table from the module, which it loads when there is a
// driver, so that one program runs on machines with and without a GPU. Plain data, because the CUDA
// source that fills the table includes it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device/cuda_launch.h"

namespace aquatint {

struct CudaDeviceInfo {
  char name[256] = {};
  int compute_capability = 0;
  int multiprocessors = 0;
  std::int64_t total_bytes = 0;
};

// Functions that return int return 0 or the CUDA error's code, which `message` explains.
struct CudaRuntime {
  int version = 0;  // kCudaModuleVersion of the sources the module was built from
  const char* (*message)(int code) noexcept = nullptr;
  int (*device_count)(int* count) noexcept = nullptr;
  int (*versions)(int* driver, int* runtime) noexcept = nullptr;  // 13000 for 13.0
  int (*device_info)(int device, CudaDeviceInfo* info) noexcept = nullptr;
  int (*memory_info)(int device, std::int64_t* free_bytes,
                     std::int64_t* total_bytes) noexcept = nullptr;
  int (*allocate)(int device, std::size_t bytes, void** memory) noexcept = nullptr;
  int (*release)(int device, void* memory) noexcept = nullptr;
  int (*allocate_pinned)(std::size_t bytes, void** memory) noexcept = nullptr;
  int (*release_pinned)(void* memory) noexcept = nullptr;
  // A stream of the device with its library handle, workspace and fault word.
  int (*open_stream)(int device, CudaLaunch* launch) noexcept = nullptr;
  int (*close_stream)(const CudaLaunch* launch) noexcept = nullptr;
  int (*synchronize)(const CudaLaunch* launch) noexcept = nullptr;
  // In stream order; either pointer may be of the host (pageable host memory blocks).
  int (*copy)(const CudaLaunch* launch, void* to, const void* from,
              std::size_t bytes) noexcept = nullptr;
  int (*fill_zero)(const CudaLaunch* launch, void* to, std::size_t bytes) noexcept = nullptr;
  int (*create_event)(void** event) noexcept = nullptr;
  int (*record_event)(const CudaLaunch* launch, void* event) noexcept = nullptr;
  int (*wait_event)(void* event) noexcept = nullptr;
  int (*destroy_event)(void* event) noexcept = nullptr;
  // What is queued between begin and end becomes a graph instead of being run.
  int (*begin_capture)(const CudaLaunch* launch) noexcept = nullptr;
  int (*end_capture)(const CudaLaunch* launch, void** graph) noexcept = nullptr;
  int (*launch_graph)(const CudaLaunch* launch, void* graph) noexcept = nullptr;
  int (*destroy_graph)(void* graph) noexcept = nullptr;
};

// Raised with every change of this table, of CudaLaunch or of an entry's arguments.
inline constexpr int kCudaModuleVersion = 7;

}  // namespace aquatint
