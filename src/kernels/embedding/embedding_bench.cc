// Embedding lookup of random rows against the speed of copying memory, measured in the same run:
// GB/s counts the bytes read from the table and written as float32.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "base/threads.h"
#include "kernels/embedding/embedding.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kVocabulary = 32000;
constexpr std::int64_t kColumns = 2048;

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

std::vector<std::int32_t> scattered_ids(std::int64_t rows) {
  std::vector<std::int32_t> ids(size(rows));
  for (std::int64_t i = 0; i < rows; ++i) {
    ids[size(i)] = static_cast<std::int32_t>(i * 7919 % kVocabulary);
  }
  return ids;
}

void report(benchmark::State& state, std::int64_t element, const std::function<void()>& body) {
  const double ceiling = copy_bandwidth(state.range(0) * kColumns * 4);
  double best = 1e30;
  for (auto _ : state) best = std::min(best, best_seconds(body));
  const auto bytes = static_cast<double>(state.range(0) * kColumns * (element + 4));
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["us"] = best * 1e6;
  state.counters["share_of_copy"] = bytes / best / ceiling;
}

void float_bench(benchmark::State& state, DType dtype) {
  const std::int64_t rows = state.range(0);
  const auto element = static_cast<std::int64_t>(dtype_size(dtype));
  const std::vector<std::byte> table(size(kVocabulary * kColumns * element));
  const auto ids = scattered_ids(rows);
  std::vector<float> y(size(rows * kColumns));
  report(state, element, [&] {
    embed_rows(table.data(), dtype, kVocabulary, kColumns, ids.data(), rows, y.data());
  });
}

void int8_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0);
  const std::vector<std::int8_t> table(size(kVocabulary * kColumns), 3);
  const std::vector<float> scales(size(kVocabulary), 0.5f);
  const auto ids = scattered_ids(rows);
  std::vector<float> y(size(rows * kColumns));
  report(state, 1, [&] {
    embed_rows_int8(table.data(), scales.data(), kVocabulary, kColumns, ids.data(), rows, y.data());
  });
}

BENCHMARK_CAPTURE(float_bench, f32, DType::kF32)
    ->Name("embed_f32")
    ->Arg(1)
    ->Arg(2048)
    ->Iterations(5);
BENCHMARK_CAPTURE(float_bench, f16, DType::kF16)
    ->Name("embed_f16")
    ->Arg(1)
    ->Arg(2048)
    ->Iterations(5);
BENCHMARK_CAPTURE(float_bench, bf16, DType::kBF16)
    ->Name("embed_bf16")
    ->Arg(1)
    ->Arg(2048)
    ->Iterations(5);
BENCHMARK(int8_bench)->Name("embed_int8")->Arg(1)->Arg(2048)->Iterations(5);

}  // namespace
}  // namespace aquatint::kernels
