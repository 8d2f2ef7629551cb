// Normalization against the speed of copying memory, measured in the same run: GB/s counts the
// bytes each form must read and write, share_of_copy compares with a threaded memcpy of the same
// footprint.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "base/threads.h"
#include "kernels/rms_norm/rms_norm.h"

namespace aquatint::kernels {
namespace {

constexpr float kEps = 1e-5f;
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
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["us"] = best * 1e6;
  state.counters["share_of_copy"] = bytes / best / ceiling;
}

void norm_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), columns = state.range(1);
  const std::vector<float> x(size(rows * columns), 0.5f), w(size(columns), 1.5f);
  std::vector<float> y(x.size());
  report(state, static_cast<double>(rows * columns * 8),
         [&] { rms_norm(x.data(), w.data(), rows, columns, kEps, y.data()); });
}

void add_norm_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), columns = state.range(1);
  const std::vector<float> delta(size(rows * columns), 0.0f), w(size(columns), 1.5f);
  std::vector<float> residual(delta.size(), 1.0f), y(delta.size());
  report(state, static_cast<double>(rows * columns * 16), [&] {
    add_rms_norm(residual.data(), delta.data(), w.data(), rows, columns, kEps, y.data());
  });
}

void norm_int8_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), columns = state.range(1);
  const std::vector<float> x(size(rows * columns), 0.5f), w(size(columns), 1.5f);
  std::vector<std::int8_t> values(x.size());
  std::vector<float> scales(size(rows));
  std::vector<std::int32_t> sums(size(rows * columns / kGroup));
  report(state, static_cast<double>(rows * columns * 5), [&] {
    rms_norm_int8(x.data(), w.data(), rows, columns, kEps, kGroup, columns / kGroup, values.data(),
                  scales.data(), sums.data());
  });
}

void norm_int8_static_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), columns = state.range(1);
  const std::vector<float> x(size(rows * columns), 0.5f), w(size(columns), 1.5f);
  std::vector<std::int8_t> values(x.size());
  report(state, static_cast<double>(rows * columns * 5), [&] {
    rms_norm_int8_static(x.data(), w.data(), rows, columns, kEps, 0.02f, values.data());
  });
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t rows : {1, 128, 2048, 16384}) bench->Args({rows, 2048});
  bench->Iterations(5)->ArgNames({"rows", "columns"});
}

BENCHMARK(norm_bench)->Name("rms_norm")->Apply(shapes);
BENCHMARK(add_norm_bench)->Name("add_rms_norm")->Apply(shapes);
BENCHMARK(norm_int8_bench)->Name("rms_norm_int8")->Apply(shapes);
BENCHMARK(norm_int8_static_bench)->Name("rms_norm_int8_static")->Apply(shapes);

}  // namespace
}  // namespace aquatint::kernels
