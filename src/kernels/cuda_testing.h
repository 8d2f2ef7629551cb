// Arrays on the first GPU, for tests and benchmarks of CUDA kernels.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "device/device_memory.h"
#include "device/stream.h"

namespace aquatint::kernels::testing {

inline constexpr Device kGpu{DeviceKind::kCuda, 0};

inline bool has_gpu() {
  return cuda_device_count() > 0;
}

inline Stream& gpu_stream() {
  return Stream::of(kGpu);
}

// n values of a normal distribution around 0.
inline std::vector<float> random_values(std::int64_t n, unsigned seed, float deviation = 1.0F) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values)
      : size_(values.size()), memory_(allocate_on(kGpu, values.size() * sizeof(T))) {
    gpu_stream().copy(memory_.get(), values.data(), size_ * sizeof(T));
  }
  // Filled with NaN, or with the largest value of an integer type.
  static DeviceArray poisoned(std::size_t n) {
    using Limits = std::numeric_limits<T>;
    return DeviceArray(
        std::vector<T>(n, Limits::has_quiet_NaN ? Limits::quiet_NaN() : Limits::max()));
  }

  T* data() const { return static_cast<T*>(memory_.get()); }
  std::size_t size() const { return size_; }
  // Waits for the stream.
  std::vector<T> host() const {
    std::vector<T> values(size_);
    gpu_stream().copy(values.data(), memory_.get(), size_ * sizeof(T));
    gpu_stream().synchronize();
    return values;
  }

 private:
  std::size_t size_;
  std::shared_ptr<void> memory_;
};

}  // namespace aquatint::kernels::testing
