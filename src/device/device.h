// Which processor holds memory and runs kernels: the CPU, or one of the NVIDIA GPUs.
#pragma once

#include <cstdint>
#include <string>

namespace aquatint {

enum class DeviceKind { kCpu, kCuda };

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;  // of the GPU, as the CUDA runtime counts

  bool is_cuda() const { return kind == DeviceKind::kCuda; }
  // "cpu" or "cuda:0".
  std::string str() const;
  bool operator==(const Device&) const = default;
};

// "cpu", "cuda", "cuda:N" or "auto" (a GPU if one can be used, else the CPU). Error
// kInvalidArgument for other text; kDevice, with the reason, for a GPU that cannot be used.
Device parse_device(const std::string& text);

// What is there, for messages and records: "NVIDIA H100 80GB HBM3, sm_90, driver for CUDA 13.0", or
// the processor's name.
std::string device_description(Device device);

// Number of GPUs that can be used; 0 without a driver or without the CUDA module.
int cuda_device_count();

}  // namespace aquatint
