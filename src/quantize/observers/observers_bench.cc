// Speed of each observer on the activations of a block, GB/s of values read, beside a plain sum of
// the same memory.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "quantize/observer.h"

namespace aquatint {
namespace {

constexpr std::int64_t kRows = 4096, kColumns = 2048;

const std::vector<float>& batch() {
  static const std::vector<float> values = [] {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<float> out(kRows * kColumns);
    for (float& x : out) x = normal(generator);
    return out;
  }();
  return values;
}

void report(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * kRows * kColumns *
                          static_cast<std::int64_t>(sizeof(float)));
}

void read_memory(benchmark::State& state) {
  const std::vector<float>& values = batch();
  for (auto _ : state) {
    std::uint32_t sums[64] = {};
    for (std::size_t i = 0; i < values.size(); i += 64) {
      for (std::size_t k = 0; k < 64; ++k) sums[k] += std::bit_cast<std::uint32_t>(values[i + k]);
    }
    benchmark::DoNotOptimize(sums);
  }
  report(state);
}
BENCHMARK(read_memory)->UseRealTime();

void observe(benchmark::State& state, const std::string& name, const ColumnGroups& groups) {
  ObserverOptions options;
  options.name = name;
  const auto observer = make_observer(options, groups);
  observer->observe(batch().data(), 16, kColumns);
  for (auto _ : state) observer->observe(batch().data(), kRows, kColumns);
  report(state);
}

const bool g_registered = [] {
  for (const ObserverEntry& entry : observer_registry()) {
    const std::string name = entry.name;
    benchmark::RegisterBenchmark((name + "/tensor").c_str(), observe, name, ColumnGroups::tensor())
        ->UseRealTime();
    if (!entry.takes_groups) continue;
    benchmark::RegisterBenchmark((name + "/channels").c_str(), observe, name,
                                 ColumnGroups::channels(kColumns))
        ->UseRealTime();
  }
  return true;
}();

}  // namespace
}  // namespace aquatint
