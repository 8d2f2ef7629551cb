// Activations against the speed of copying memory, measured in the same run: GB/s counts the bytes
// each form must read and write, share_of_copy compares with a threaded memcpy of as many rows.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "base/threads.h"
#include "kernels/activation/activation.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kGroup = 128;

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

double best_seconds(const std::function<void()>& body) {
  double best = 1e30;
  for (int i = 0; i < 9; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::min(best, elapsed.count());
  }
  return best;
}

// Bytes read plus bytes written per second by memcpy on all threads.
double copy_bandwidth(std::int64_t bytes) {
  const std::vector<char> from(size(bytes), 1);
  std::vector<char> to(size(bytes));
  const double seconds = best_seconds([&] {
    parallel_for(bytes, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to.data() + begin, from.data() + begin, size(end - begin));
    });
    benchmark::ClobberMemory();
  });
  return 2.0 * static_cast<double>(bytes) / seconds;
}

void report(benchmark::State& state, double bytes, const std::function<void()>& body) {
  const double ceiling = copy_bandwidth(state.range(0) * state.range(1) * 4);
  double best = 1e30;
  for (auto _ : state) best = std::min(best, best_seconds(body));
  const auto elements = static_cast<double>(state.range(0) * state.range(1));
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["Gelements/s"] = elements / best * 1e-9;
  state.counters["us"] = best * 1e6;
  state.counters["share_of_copy"] = bytes / best / ceiling;
}

void gated_bench(benchmark::State& state) {
  const std::int64_t n = state.range(0) * state.range(1);
  const std::vector<float> gate(size(n), 0.5f), up(size(n), 1.5f);
  std::vector<float> y(gate.size());
  report(state, static_cast<double>(n * 12),
         [&] { gated_activation(Activation::kSilu, gate.data(), up.data(), n, y.data()); });
}

void gated_int8_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), columns = state.range(1), groups = columns / kGroup;
  const std::vector<float> gate(size(rows * columns), 0.5f), up(size(rows * columns), 1.5f);
  std::vector<std::int8_t> values(gate.size());
  std::vector<float> scales(size(rows));
  std::vector<std::int32_t> sums(size(rows * groups));
  report(state, static_cast<double>(rows * columns * 9), [&] {
    gated_activation_int8(Activation::kSilu, gate.data(), up.data(), rows, columns, kGroup, groups,
                          values.data(), scales.data(), sums.data());
  });
}

void log_sigmoid_bench(benchmark::State& state) {
  const std::int64_t n = state.range(0) * state.range(1);
  std::vector<float> x(size(n), 0.5f);
  report(state, static_cast<double>(n * 8),
         [&] { activate(Activation::kLogSigmoid, x.data(), n); });
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t rows : {1, 128, 2048}) bench->Args({rows, 5632});
  bench->Iterations(5)->ArgNames({"rows", "columns"});
}

BENCHMARK(gated_bench)->Name("gated_silu")->Apply(shapes);
BENCHMARK(gated_int8_bench)->Name("gated_silu_int8")->Apply(shapes);
BENCHMARK(log_sigmoid_bench)->Name("log_sigmoid")->Apply(shapes);

}  // namespace
}  // namespace aquatint::kernels
