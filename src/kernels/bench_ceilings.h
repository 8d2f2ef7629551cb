// What a kernel benchmark is compared with, measured in the same process and run: the speed of
// copying and of reading memory at a given footprint, and the float32 rate of oneDNN's matrix
// product.
#pragma once

#include <benchmark/benchmark.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/threads.h"

namespace aquatint::kernels {

// Best of `times` timings of body(), in seconds: the machine may be shared, the fastest run is the
// kernel.
template <typename Body>
double best_seconds(int times, const Body& body) {
  double best = 1e30;
  for (int i = 0; i < times; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::min(best, elapsed.count());
  }
  return best;
}

// Bytes read plus bytes written per second by a threaded copy that touches `footprint` bytes in
// all.
inline double copy_bandwidth(std::int64_t footprint) {
  const std::int64_t n = std::max<std::int64_t>(footprint / 8, 1);
  const std::vector<float> from(static_cast<std::size_t>(n), 1.0F);
  std::vector<float> to(from.size());
  const double seconds = best_seconds(30, [&] {
    parallel_for(n, 8192, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to.data() + begin, from.data() + begin,
                  static_cast<std::size_t>(end - begin) * 4);
    });
    benchmark::ClobberMemory();
  });
  return static_cast<double>(n * 8) / seconds;
}

// Runs `body`, which moves `bytes`, and gives its speed as a share of copying as many.
template <typename Body>
void report_share_of_copy(benchmark::State& state, double bytes, const Body& body) {
  double best = 1e30;
  for (auto _ : state) best = std::min(best, best_seconds(30, body));
  const double ceiling = copy_bandwidth(static_cast<std::int64_t>(bytes));
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["us"] = best * 1e6;
  state.counters["share_of_copy"] = bytes / best / ceiling;
}

// Runs one token through the states of all layers of a model in turn, so that they come from where
// they would come from when decoding. `bytes` are moved in all; `ceiling` is what could be moved in
// a second.
template <typename RunLayer>
void report_decode(benchmark::State& state, std::int64_t layers, double bytes, double ceiling,
                   const RunLayer& run_layer) {
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(best, best_seconds(7, [&] {
                      for (std::int64_t layer = 0; layer < layers; ++layer) run_layer(layer);
                    }));
  }
  state.counters["us/layer"] = best * 1e6 / static_cast<double>(layers);
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["share_of_copy"] = bytes / best / ceiling;
}

// Bytes per second that a threaded search for an absent byte (vector code in any libc) reads.
inline double read_bandwidth(std::int64_t footprint) {
  const std::int64_t n = std::max<std::int64_t>(footprint, 1);
  const std::vector<char> data(static_cast<std::size_t>(n), 0);
  const double seconds = best_seconds(30, [&] {
    parallel_for(n, 32768, [&](std::int64_t begin, std::int64_t end) {
      const void* found =
          std::memchr(data.data() + begin, 1, static_cast<std::size_t>(end - begin));
      benchmark::DoNotOptimize(found);
    });
  });
  return static_cast<double>(n) / seconds;
}

// Floating point operations per second of a 512 x 2048 x 2048 product on all threads.
inline double product_rate() {
  constexpr dnnl_dim_t kM = 512, kN = 2048, kK = 2048;
  const std::vector<float> a(std::size_t{kM * kK}, 0.5F), b(std::size_t{kK * kN}, 0.25F);
  std::vector<float> c(std::size_t{kM * kN});
  const double seconds = best_seconds(6, [&] {
    dnnl_sgemm('N', 'N', kM, kN, kK, 1.0F, a.data(), kK, b.data(), kN, 0.0F, c.data(), kN);
  });
  return 2.0 * static_cast<double>(kM * kN * kK) / seconds;
}

}  // namespace aquatint::kernels
