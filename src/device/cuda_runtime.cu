// Fills the table of cuda_runtime.h from the CUDA runtime. Part of the CUDA module only.
#include "device/cuda_runtime.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <stdio.h>

namespace aquatint {
namespace {

constexpr std::size_t kBlasWorkspace = std::size_t{32} << 20;

cudaStream_t stream_of(const CudaLaunch* launch) {
  return static_cast<cudaStream_t>(launch->stream);
}

// The runtime keeps the last error; what is reported once must not surface again in another call.
int code(cudaError_t error) {
  if (error != cudaSuccess) static_cast<void>(cudaGetLastError());
  return static_cast<int>(error);
}

const char* message(int error) noexcept {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

int device_count(int* count) noexcept { return code(cudaGetDeviceCount(count)); }

int versions(int* driver, int* runtime) noexcept {
  const cudaError_t error = cudaDriverGetVersion(driver);
  return code(error != cudaSuccess ? error : cudaRuntimeGetVersion(runtime));
}

int device_info(int device, CudaDeviceInfo* info) noexcept {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return code(error);
  snprintf(info->name, sizeof(info->name), "%s", properties.name);
  info->compute_capability = 10 * properties.major + properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->total_bytes = static_cast<std::int64_t>(properties.totalGlobalMem);
  return 0;
}

int memory_info(int device, std::int64_t* free_bytes, std::int64_t* total_bytes) noexcept {
  std::size_t free = 0, total = 0;
  cudaError_t error = cudaSetDevice(device);
  if (error == cudaSuccess) error = cudaMemGetInfo(&free, &total);
  *free_bytes = static_cast<std::int64_t>(free);
  *total_bytes = static_cast<std::int64_t>(total);
  return code(error);
}

int allocate(int device, std::size_t bytes, void** memory) noexcept {
  const cudaError_t error = cudaSetDevice(device);
  return code(error != cudaSuccess ? error : cudaMalloc(memory, bytes));
}

int release(int device, void* memory) noexcept {
  const cudaError_t error = cudaSetDevice(device);
  return code(error != cudaSuccess ? error : cudaFree(memory));
}

int allocate_pinned(std::size_t bytes, void** memory) noexcept {
  return code(cudaMallocHost(memory, bytes));
}

int release_pinned(void* memory) noexcept { return code(cudaFreeHost(memory)); }

int close_stream(const CudaLaunch* launch) noexcept {
  static_cast<void>(cudaSetDevice(launch->device));
  if (launch->blas != nullptr) cublasLtDestroy(static_cast<cublasLtHandle_t>(launch->blas));
  if (launch->blas_workspace != nullptr) static_cast<void>(cudaFree(launch->blas_workspace));
  if (launch->fault != nullptr) static_cast<void>(cudaFree(launch->fault));
  return code(launch->stream != nullptr ? cudaStreamDestroy(stream_of(launch)) : cudaSuccess);
}

int fill_launch(int device, CudaLaunch* launch) {
  CudaDeviceInfo info;
  if (const int failed = device_info(device, &info)) return failed;
  launch->device = device;
  launch->multiprocessors = info.multiprocessors;
  launch->compute_capability = info.compute_capability;
  cudaError_t error = cudaSetDevice(device);
  cudaStream_t stream = nullptr;
  if (error == cudaSuccess) error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  launch->stream = stream;
  if (error == cudaSuccess) error = cudaMalloc(&launch->blas_workspace, kBlasWorkspace);
  launch->blas_workspace_bytes = kBlasWorkspace;
  if (error == cudaSuccess) error = cudaMalloc(&launch->fault, sizeof(int));
  if (error == cudaSuccess) error = cudaMemset(launch->fault, 0, sizeof(int));
  if (error != cudaSuccess) return code(error);
  cublasLtHandle_t blas = nullptr;
  if (cublasLtCreate(&blas) != CUBLAS_STATUS_SUCCESS) return cudaErrorInitializationError;
  launch->blas = blas;
  return 0;
}

int open_stream(int device, CudaLaunch* launch) noexcept {
  const int failed = fill_launch(device, launch);
  if (failed != 0) close_stream(launch);
  return failed;
}

int synchronize(const CudaLaunch* launch) noexcept {
  return code(cudaStreamSynchronize(stream_of(launch)));
}

int copy(const CudaLaunch* launch, void* to, const void* from, std::size_t bytes) noexcept {
  return code(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(launch)));
}

int fill_zero(const CudaLaunch* launch, void* to, std::size_t bytes) noexcept {
  return code(cudaMemsetAsync(to, 0, bytes, stream_of(launch)));
}

int create_event(void** event) noexcept {
  return code(cudaEventCreateWithFlags(reinterpret_cast<cudaEvent_t*>(event),
                                       cudaEventDisableTiming | cudaEventBlockingSync));
}

int record_event(const CudaLaunch* launch, void* event) noexcept {
  return code(cudaEventRecord(static_cast<cudaEvent_t>(event), stream_of(launch)));
}

int wait_event(void* event) noexcept {
  return code(cudaEventSynchronize(static_cast<cudaEvent_t>(event)));
}

int destroy_event(void* event) noexcept {
  return code(cudaEventDestroy(static_cast<cudaEvent_t>(event)));
}

int begin_capture(const CudaLaunch* launch) noexcept {
  return code(cudaStreamBeginCapture(stream_of(launch), cudaStreamCaptureModeRelaxed));
}

int end_capture(const CudaLaunch* launch, void** graph) noexcept {
  cudaGraph_t captured = nullptr;
  cudaError_t error = cudaStreamEndCapture(stream_of(launch), &captured);
  if (error != cudaSuccess) return code(error);
  cudaGraphExec_t executable = nullptr;
  error = cudaGraphInstantiate(&executable, captured, 0);
  static_cast<void>(cudaGraphDestroy(captured));
  *graph = executable;
  return code(error);
}

int launch_graph(const CudaLaunch* launch, void* graph) noexcept {
  return code(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(launch)));
}

int destroy_graph(void* graph) noexcept {
  return code(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)));
}

CudaRuntime make_table() {
  CudaRuntime table;
  table.version = kCudaModuleVersion;
  table.message = message;
  table.device_count = device_count;
  table.versions = versions;
  table.device_info = device_info;
  table.memory_info = memory_info;
  table.allocate = allocate;
  table.release = release;
  table.allocate_pinned = allocate_pinned;
  table.release_pinned = release_pinned;
  table.open_stream = open_stream;
  table.close_stream = close_stream;
  table.synchronize = synchronize;
  table.copy = copy;
  table.fill_zero = fill_zero;
  table.create_event = create_event;
  table.record_event = record_event;
  table.wait_event = wait_event;
  table.destroy_event = destroy_event;
  table.begin_capture = begin_capture;
  table.end_capture = end_capture;
  table.launch_graph = launch_graph;
  table.destroy_graph = destroy_graph;
  return table;
}

}  // namespace
}  // namespace aquatint

extern "C" const aquatint::CudaRuntime* aquatint_cuda_runtime() noexcept {
  static const aquatint::CudaRuntime table = aquatint::make_table();
  return &table;
}
