#include "device/cuda_library.h"

#include <dlfcn.h>

#include <filesystem>

#include "base/error.h"

namespace aquatint::cuda {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModule = "libaquatint_cuda.so";

struct Library {
  void* handle = nullptr;
  const CudaRuntime* runtime = nullptr;
  std::string reason;
};

// AQUATINT_CUDA_MODULE, else beside the program, else where the loader looks.
void* open_module(std::string& tried) {
  std::error_code error;
  const char* forced = std::getenv("AQUATINT_CUDA_MODULE");
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path beside = program.parent_path() / kModule;
  const fs::path above = program.parent_path().parent_path() / kModule;  // tests, in build/*/src
  std::string name = kModule;
  if (forced != nullptr) {
    name = forced;
  } else if (fs::exists(beside, error)) {
    name = beside.string();
  } else if (fs::exists(above, error)) {
    name = above.string();
  }
  void* handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = ::dlerror();
    tried = why != nullptr ? why : name;
  }
  return handle;
}

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// Why no GPU of a loaded module can be used; empty when one can.
std::string why_not(const CudaRuntime& runtime) {
  int driver = 0, own = 0, count = 0;
  if (runtime.version != kCudaModuleVersion) {
    return fmt::format("{} is of another version of this program ({}, not {})", kModule,
                       runtime.version, kCudaModuleVersion);
  }
  if (runtime.versions(&driver, &own) == 0 && driver / 1000 < own / 1000) {
    return fmt::format(
        "the NVIDIA driver supports CUDA {}, older than the CUDA {} this program "
        "was built with; update the driver",
        version_text(driver), version_text(own));
  }
  const int code = runtime.device_count(&count);
  if (code != 0) return runtime.message(code);
  return count > 0 ? "" : "the NVIDIA driver sees no GPU";
}

Library load() {
  Library library;
  // The driver stays loaded for as long as the module needs it: to the end of the program.
  if (::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) == nullptr) {
    library.reason = "no NVIDIA driver is installed (libcuda.so.1 is missing)";
    return library;
  }
  std::string tried;
  library.handle = open_module(tried);
  if (library.handle == nullptr) {
    library.reason =
        fmt::format("the CUDA module cannot be loaded ({}); ./dev build cuda makes it", tried);
    return library;
  }
  using Get = const CudaRuntime* (*)();
  const auto get = reinterpret_cast<Get>(::dlsym(library.handle, "aquatint_cuda_runtime"));
  if (get == nullptr) {
    library.reason = fmt::format("{} is no CUDA module of this program", kModule);
    return library;
  }
  library.reason = why_not(*get());
  if (library.reason.empty()) library.runtime = get();
  return library;
}

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

}  // namespace

const CudaRuntime* runtime() {
  return library().runtime;
}

const std::string& unavailable_reason() {
  return library().reason;
}

void* symbol(const char* name) {
  AQUATINT_ASSERT(library().runtime != nullptr);
  void* address = ::dlsym(library().handle, name);
  if (address == nullptr) raise(ErrorKind::kDevice, "the CUDA module has no '{}'", name);
  return address;
}

void check(int code, const std::string& what) {
  if (code != 0) raise(ErrorKind::kDevice, "{}: {}", what, runtime()->message(code));
}

}  // namespace aquatint::cuda
