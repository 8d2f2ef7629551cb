// The CUDA module, a shared library beside the program that is loaded on first use, and the symbols
// in it. Internal to what dispatches to GPUs.
#pragma once

#include <string>

#include "device/cuda_runtime.h"

namespace aquatint::cuda {

// The module's table; null when it cannot be used, and then unavailable_reason() says why.
const CudaRuntime* runtime();
// "no NVIDIA driver is installed (libcuda.so.1 …)"; empty when GPUs can be used.
const std::string& unavailable_reason();
// Address of a symbol of the loaded module. Error kDevice when it has none.
void* symbol(const char* name);
// Error kDevice "<what>: <the runtime's words>" unless `code` is 0.
void check(int code, const std::string& what);

}  // namespace aquatint::cuda
