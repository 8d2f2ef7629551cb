// What benchmarks of CUDA kernels share: wall clock over many queued calls, and the speed of copies
// on the device, measured in the same process and run.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/bench_ceilings.h"
#include "kernels/cuda_testing.h"

namespace aquatint::kernels::testing {

// Best of several times of `calls` calls body(i), one after another as in a model, in seconds each.
template <typename Body>
double seconds_per_call(const Body& body, int calls = 20) {
  body(0);
  gpu_stream().synchronize();
  return best_seconds(7,
                      [&] {
                        for (int i = 0; i < calls; ++i) body(i);
                        gpu_stream().synchronize();
                      }) /
         calls;
}

// n values of random bits, made by `value(bits)`.
template <typename Value>
auto quick_values(std::int64_t n, unsigned bits, const Value& value) {
  std::vector<decltype(value(bits))> x(static_cast<std::size_t>(n));
  for (auto& each : x) {
    bits = bits * 1664525U + 1013904223U;
    each = value(bits);
  }
  return x;
}

// n numbers between -1 and 1.
inline std::vector<float> quick_numbers(std::int64_t n) {
  return quick_values(
      n, 12345, [](unsigned bits) { return static_cast<float>(bits >> 8) * 0x1p-23F - 1.0F; });
}

// n bytes of any value.
inline std::vector<std::int8_t> quick_bytes(std::int64_t n, unsigned seed = 12345) {
  return quick_values(n, seed, [](unsigned bits) { return static_cast<std::int8_t>(bits >> 24); });
}

// Bytes read plus bytes written per second by copies of `bytes` on the device.
inline double device_copy_bandwidth(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(bytes);
  const DeviceArray from(quick_numbers(bytes / 4)), to(quick_numbers(bytes / 4));
  return 2.0 * static_cast<double>(bytes) /
         seconds_per_call([&](int) { gpu_stream().copy(to.data(), from.data(), size); });
}

}  // namespace aquatint::kernels::testing
