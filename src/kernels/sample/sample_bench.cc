// Choosing one token on the CPU, and of many sequences on a GPU, against the speed of copying the
// logits on the CPU: what handing them to the host would cost at least.
#include <random>

#include "kernels/bench_ceilings.h"
#include "kernels/cuda_testing.h"
#include "kernels/sample/sample.h"

namespace aquatint::kernels {
namespace {

// The likeliest token, the program's defaults, and what has to look at the whole vocabulary.
SampleRow row_of(benchmark::State& state) {
  const std::int64_t kind = state.range(1);
  state.SetLabel(kind == 0 ? "greedy" : kind == 1 ? "top-k 40, top-p 0.95" : "top-p 0.95");
  SampleRow how;
  how.random = 0x6666666666666666u;
  if (kind > 0) how.temperature = 0.8F;
  if (kind > 0) how.top_p = 0.95F;
  if (kind == 1) how.top_k = 40;
  return how;
}

std::vector<float> logits_of(std::int64_t n) {
  return testing::random_values(n, 1, 3.0F);
}

void cpu_bench(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  auto logits = logits_of(n);
  const SampleRow how = row_of(state);
  std::int32_t token = 0;
  report_share_of_copy(state, static_cast<double>(n * 4), [&] {
    sample(Stream::cpu(), logits.data(), 1, n, n, &how, nullptr, &token);
  });
}

void gpu_bench(benchmark::State& state) {
  if (!testing::has_gpu()) return state.SkipWithError("no CUDA device");
  constexpr int kCalls = 50;
  const std::int64_t n = state.range(0), rows = state.range(2);
  const testing::DeviceArray logits(logits_of(n * rows));
  const std::vector<SampleRow> how(static_cast<std::size_t>(rows), row_of(state));
  const auto device_how = allocate_on(testing::kGpu, how.size() * sizeof(SampleRow));
  Stream& stream = testing::gpu_stream();
  stream.copy(device_how.get(), how.data(), how.size() * sizeof(SampleRow));
  const auto tokens = testing::DeviceArray<std::int32_t>::poisoned(how.size());
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(best, best_seconds(5, [&] {
                      for (int i = 0; i < kCalls; ++i) {
                        sample(stream, logits.data(), rows, n, n,
                               static_cast<const SampleRow*>(device_how.get()), nullptr,
                               tokens.data());
                      }
                      stream.synchronize();
                    }));
  }
  state.counters["us"] = best / kCalls * 1e6;
  state.counters["GB/s"] = static_cast<double>(n * rows * 4) * kCalls / best * 1e-9;
}

void sizes(benchmark::internal::Benchmark* bench, const std::vector<std::int64_t>& rows) {
  for (const std::int64_t n : {32'000, 151'936}) {
    for (const std::int64_t kind : {0, 1, 2}) {
      for (const std::int64_t count : rows) bench->Args({n, kind, count});
    }
  }
  bench->ArgNames({"vocabulary", "way", "rows"})->Iterations(2);
}

BENCHMARK(cpu_bench)->Name("sample")->Apply([](auto* bench) { sizes(bench, {1}); });
BENCHMARK(gpu_bench)->Name("sample_cuda")->Apply([](auto* bench) { sizes(bench, {1, 32}); });

}  // namespace
}  // namespace aquatint::kernels
