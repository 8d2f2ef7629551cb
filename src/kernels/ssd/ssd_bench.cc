// Mamba-2's recurrence. Prefill against oneDNN's float32 product, decoding against the speed of
// copying memory, both measured in this run. Times are the best of several calls.
#include <limits>
#include <vector>

#include "kernels/bench_ceilings.h"
#include "kernels/ssd/ssd.h"

namespace aquatint::kernels {
namespace {

// `batch` sequences of `tokens` tokens, with the states of `layers` layers.
struct Problem {
  SsdShape shape;
  std::int64_t batch, tokens, state_size;
  std::vector<float> xbc, dt, bias, rates, skip, state, y;
  std::vector<SsdSequence> sequences;

  Problem(const SsdShape& s, std::int64_t b, std::int64_t t, std::int64_t layers)
      : shape(s), batch(b), tokens(t), state_size(s.heads * s.head_dim * s.states) {
    const auto filled = [](std::int64_t size, float low, float high) {
      std::vector<float> values(static_cast<std::size_t>(size));
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = low + (high - low) * static_cast<float>(i * 2654435761U % 1024U) / 1024.0F;
      }
      return values;
    };
    const std::int64_t rows = batch * tokens;
    xbc = filled(rows * ld(), -1, 1);
    dt = filled(rows * shape.heads, -6, -1);
    bias = filled(shape.heads, -0.1F, 0.1F);
    rates = filled(shape.heads, -20, -0.5F);
    skip = filled(shape.heads, 0, 2);
    state = filled(layers * batch * state_size, -1, 1);
    y.resize(static_cast<std::size_t>(rows * shape.heads * shape.head_dim));
    sequences.resize(static_cast<std::size_t>(batch));
  }

  std::int64_t ld() const { return shape.heads * shape.head_dim + 2 * shape.groups * shape.states; }

  void run(std::int64_t layer, SsdArithmetic arithmetic = SsdArithmetic::kFloat32) {
    for (std::int64_t s = 0; s < batch; ++s) {
      sequences[static_cast<std::size_t>(s)] = {s * tokens, tokens,
                                                state.data() + (layer * batch + s) * state_size};
    }
    const float* x = xbc.data();
    const std::int64_t columns = shape.heads * shape.head_dim;
    const SsdInputs inputs = {x,           x + columns,  x + columns + shape.groups * shape.states,
                              ld(),        dt.data(),    shape.heads,
                              bias.data(), rates.data(), skip.data(),
                              false,       0.0F,         std::numeric_limits<float>::infinity()};
    ssd_forward(arithmetic, shape, inputs, sequences.data(), batch, y.data());
  }
};

void prefill_bench(benchmark::State& state) {
  const std::int64_t tokens = state.range(4);
  Problem problem({state.range(0), state.range(1), state.range(2), state.range(3)}, 1, tokens, 1);
  const auto arithmetic = state.range(5) != 0 ? SsdArithmetic::kBFloat16 : SsdArithmetic::kFloat32;
  const double product = product_rate();
  double best = 1e30;
  for (auto _ : state) best = std::min(best, best_seconds(5, [&] { problem.run(0, arithmetic); }));
  // What the recurrence itself needs: the outer product and the output.
  const double operations = 4.0 * static_cast<double>(tokens * problem.state_size);
  state.counters["us/token"] = best * 1e6 / static_cast<double>(tokens);
  state.counters["GFLOP/s"] = operations / best * 1e-9;
  state.counters["share_of_product"] = operations / best / product;
}
BENCHMARK(prefill_bench)
    ->Name("ssd_prefill")
    ->ArgNames({"heads", "groups", "head_dim", "states", "tokens", "bf16"})
    ->Args({64, 1, 64, 128, 2048, 0})
    ->Args({64, 1, 64, 128, 2048, 1})
    ->Args({80, 1, 64, 128, 2048, 0})
    ->Args({128, 8, 64, 128, 2048, 0})
    ->Args({128, 8, 64, 128, 2048, 1})
    ->Args({12, 1, 64, 128, 2048, 0})
    ->Args({64, 1, 64, 128, 64, 0})
    ->Args({64, 1, 64, 128, 64, 1})
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

void decode_bench(benchmark::State& state) {
  const std::int64_t batch = state.range(3), layers = state.range(4);
  Problem problem({state.range(0), 1, state.range(1), state.range(2)}, batch, 1, layers);
  const double bytes = 8.0 * static_cast<double>(problem.state.size());
  const double ceiling = copy_bandwidth(static_cast<std::int64_t>(bytes));
  report_decode(state, layers, bytes, ceiling, [&](std::int64_t layer) { problem.run(layer); });
}
BENCHMARK(decode_bench)
    ->Name("ssd_decode")
    ->ArgNames({"heads", "head_dim", "states", "batch", "layers"})
    ->Args({64, 64, 128, 1, 48})
    ->Args({64, 64, 128, 8, 24})
    ->Args({12, 64, 128, 1, 12})
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace aquatint::kernels
