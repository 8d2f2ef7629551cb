#include "device/device.h"

#include <charconv>

#include "base/cpu_features.h"
#include "base/error.h"
#include "device/cuda_library.h"

namespace aquatint {

std::string Device::str() const {
  return is_cuda() ? fmt::format("cuda:{}", index) : "cpu";
}

int cuda_device_count() {
  int count = 0;
  if (cuda::runtime() == nullptr || cuda::runtime()->device_count(&count) != 0) return 0;
  return count;
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "auto") {
    return cuda_device_count() > 0 ? Device{DeviceKind::kCuda, 0} : Device{};
  }
  Device device{DeviceKind::kCuda, 0};
  constexpr std::string_view kPrefix = "cuda:";
  if (text != "cuda") {
    const char* end = text.data() + text.size();
    const bool prefixed = text.starts_with(kPrefix) && text.size() > kPrefix.size();
    const auto parsed = prefixed ? std::from_chars(text.data() + kPrefix.size(), end, device.index)
                                 : std::from_chars_result{text.data(), std::errc::invalid_argument};
    if (parsed.ec != std::errc{} || parsed.ptr != end || device.index < 0) {
      raise(ErrorKind::kInvalidArgument, "device '{}': expected cpu, cuda, cuda:N or auto", text);
    }
  }
  if (cuda::runtime() == nullptr) {
    raise(ErrorKind::kDevice, "device '{}': {}", text, cuda::unavailable_reason());
  }
  const int count = cuda_device_count();
  if (device.index >= count) {
    raise(ErrorKind::kDevice, "device '{}': there {} {} GPU{}, from cuda:0 on", text,
          count == 1 ? "is" : "are", count, count == 1 ? "" : "s");
  }
  return device;
}

std::string device_description(Device device) {
  if (!device.is_cuda()) return cpu_name();
  CudaDeviceInfo info;
  int driver = 0, own = 0;
  cuda::check(cuda::runtime()->device_info(device.index, &info), device.str());
  cuda::check(cuda::runtime()->versions(&driver, &own), device.str());
  return fmt::format("{}, sm_{}, driver for CUDA {}.{}", info.name, info.compute_capability,
                     driver / 1000, driver % 1000 / 10);
}

}  // namespace aquatint
