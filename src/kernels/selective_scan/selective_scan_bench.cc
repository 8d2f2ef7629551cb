// The selective scan. Prefill: vector operations that it needs against the rate of multiply-adds;
// decoding against the speed of updating memory in place. All measured in this run, times are the
// best of several calls.
#include <vector>

#include "kernels/bench_ceilings.h"
#include "kernels/selective_scan/selective_scan.h"

namespace aquatint::kernels {
namespace {

// `batch` sequences of `tokens` tokens, with the states and rates of `layers` layers.
struct Problem {
  std::int64_t channels, states, batch, tokens, layers;
  std::vector<float> in, x, dt, bc, rates, skip, state, y;
  std::vector<ScanSequence> sequences;

  Problem(std::int64_t c, std::int64_t n, std::int64_t b, std::int64_t t, std::int64_t l)
      : channels(c), states(n), batch(b), tokens(t), layers(l) {
    const auto filled = [](std::int64_t size, float low, float high) {
      std::vector<float> values(static_cast<std::size_t>(size));
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = low + (high - low) * static_cast<float>(i * 2654435761U % 1024U) / 1024.0F;
      }
      return values;
    };
    const std::int64_t rows = batch * tokens;
    in = filled(rows * 2 * channels, -1, 1);
    x = filled(rows * channels, -1, 1);
    dt = filled(rows * channels, -6, -1);
    bc = filled(rows * 2 * states, -1, 1);
    rates = filled(layers * states * channels, -20, -0.5F);
    skip = filled(channels, 0, 2);
    state = filled(layers * batch * states * channels, -1, 1);
    y.resize(x.size());
    sequences.resize(static_cast<std::size_t>(batch));
  }

  void run(std::int64_t layer) {
    for (std::int64_t s = 0; s < batch; ++s) {
      sequences[static_cast<std::size_t>(s)] = {
          s * tokens, tokens, state.data() + (layer * batch + s) * states * channels};
    }
    const ScanInputs inputs = {channels,
                               states,
                               x.data(),
                               channels,
                               dt.data(),
                               bc.data(),
                               bc.data() + states,
                               2 * states,
                               in.data() + channels,
                               2 * channels,
                               rates.data() + layer * states * channels,
                               skip.data()};
    selective_scan(inputs, sequences.data(), batch, y.data());
  }
};

void prefill_bench(benchmark::State& state) {
  const std::int64_t tokens = state.range(2);
  Problem problem(state.range(0), state.range(1), 1, tokens, 1);
  double best = 1e30;
  for (auto _ : state) best = std::min(best, best_seconds(5, [&] { problem.run(0); }));
  const auto elements = static_cast<double>(problem.channels * problem.states * tokens);
  state.counters["us/token"] = best * 1e6 / static_cast<double>(tokens);
  state.counters["ps/element"] = best / elements * 1e12;
}
BENCHMARK(prefill_bench)
    ->Name("selective_scan_prefill")
    ->ArgNames({"channels", "states", "tokens"})
    ->Args({4096, 16, 2048})
    ->Args({5120, 16, 2048})
    ->Args({768, 16, 2048})
    ->Args({4096, 16, 64})
    ->Args({4096, 24, 512})
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

void decode_bench(benchmark::State& state) {
  const std::int64_t batch = state.range(2), layers = state.range(3);
  Problem problem(state.range(0), state.range(1), batch, 1, layers);
  const double bytes = 4.0 * static_cast<double>(2 * problem.state.size() + problem.rates.size());
  const double ceiling = copy_bandwidth(static_cast<std::int64_t>(bytes));
  report_decode(state, layers, bytes, ceiling, [&](std::int64_t layer) { problem.run(layer); });
}
BENCHMARK(decode_bench)
    ->Name("selective_scan_decode")
    ->ArgNames({"channels", "states", "batch", "layers"})
    ->Args({4096, 16, 1, 48})
    ->Args({4096, 16, 8, 48})
    ->Args({768, 16, 1, 12})
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace aquatint::kernels
