// The CUDA kernels: prefill in both arithmetics and decoding, against a copy on the device that is
// measured in the same run. Times are wall clock over many queued calls, best of several.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/bench_cuda.h"
#include "kernels/gla/gla.h"

namespace aquatint::kernels {
namespace {

using testing::device_copy_bandwidth;
using testing::DeviceArray;
using testing::gpu_stream;
using testing::seconds_per_call;

struct Problem {
  GlaShape shape;
  std::int64_t batch, tokens, state_size;
  DeviceArray<float> q, k, v, g, o, states;
  int layers;

  Problem(const benchmark::State& args, std::int64_t length, int layer_count)
      : shape{args.range(0), args.range(0), args.range(1), args.range(2),
              1.0F / std::sqrt(static_cast<float>(args.range(1)))},
        batch(args.range(3)),
        tokens(length),
        state_size(shape.heads * shape.dk * shape.dv),
        q(testing::quick_numbers(batch * tokens * shape.heads * shape.dk)),
        k(testing::quick_numbers(batch * tokens * shape.heads * shape.dk)),
        v(testing::quick_numbers(batch * tokens * shape.heads * shape.dv)),
        g(testing::quick_numbers(batch * tokens * shape.heads * shape.dk)),
        o(testing::quick_numbers(batch * tokens * shape.heads * shape.dv)),
        states(testing::quick_numbers(layer_count * batch * state_size)),
        layers(layer_count) {
    gla_log_decay(gpu_stream(), g.data(), static_cast<std::int64_t>(g.size()), 16.0F, false, 0.0F);
  }

  void run(GlaArithmetic arithmetic, int layer) const {
    std::vector<GlaSequence> sequences;
    for (std::int64_t s = 0; s < batch; ++s) {
      sequences.push_back(
          {s * tokens, tokens, states.data() + (layer % layers * batch + s) * state_size});
    }
    gla_forward(gpu_stream(), arithmetic, shape, sequences.data(), batch, q.data(), k.data(),
                v.data(), g.data(), o.data());
  }
};

void prefill_bench(benchmark::State& state, GlaArithmetic arithmetic) {
  if (!testing::has_gpu()) return state.SkipWithError("no CUDA device");
  const Problem problem(state, state.range(4), 1);
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(best, seconds_per_call([&](int) { problem.run(arithmetic, 0); }));
  }
  state.counters["us/layer"] = best * 1e6;
  state.counters["TFLOP/s"] =
      4e-12 * static_cast<double>(problem.batch * problem.tokens * problem.state_size) / best;
}

void decode_bench(benchmark::State& state) {
  if (!testing::has_gpu()) return state.SkipWithError("no CUDA device");
  const Problem problem(state, 1, static_cast<int>(state.range(4)));
  const std::int64_t bytes = 4 * problem.batch * problem.state_size;
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(
        best, seconds_per_call([&](int layer) { problem.run(GlaArithmetic::kFloat32, layer); }));
  }
  state.counters["us/layer"] = best * 1e6;
  state.counters["GB/s"] = 2e-9 * static_cast<double>(bytes) / best;
  state.counters["share_of_copy"] =
      2.0 * static_cast<double>(bytes) / best / device_copy_bandwidth(std::int64_t{1} << 28);
}

void prefill_sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"heads", "dk", "dv", "batch", "tokens"})
      ->Args({4, 256, 512, 1, 64})
      ->Args({4, 256, 512, 1, 2048})
      ->Args({4, 256, 512, 8, 2048})
      ->Args({5, 256, 512, 1, 2048})
      ->Args({4, 48, 96, 1, 2048})
      ->Iterations(3)
      ->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(prefill_bench, bfloat16, GlaArithmetic::kBFloat16)
    ->Name("gla_cuda_prefill_bf16")
    ->Apply(prefill_sizes);
BENCHMARK_CAPTURE(prefill_bench, float32, GlaArithmetic::kFloat32)
    ->Name("gla_cuda_prefill_f32")
    ->Apply(prefill_sizes);
BENCHMARK(decode_bench)
    ->Name("gla_cuda_decode")
    ->ArgNames({"heads", "dk", "dv", "batch", "layers"})
    ->Args({4, 256, 512, 1, 24})
    ->Args({4, 256, 512, 8, 24})
    ->Args({4, 256, 512, 32, 8})
    ->Args({5, 256, 512, 32, 8})
    ->Args({4, 48, 96, 8, 12})
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace aquatint::kernels
