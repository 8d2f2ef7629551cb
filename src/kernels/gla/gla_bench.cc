// Prefill against the rate of a loop of independent float32 multiply-adds (and against oneDNN's
// product), decoding against the speed of updating memory in place, all measured in this run. Times
// are the best of several calls.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "base/threads.h"
#include "kernels/bench_ceilings.h"
#include "kernels/gla/gla.h"

namespace aquatint::kernels {
namespace {

constexpr int kChains = 16;  // independent multiply-adds: enough for two pipes of latency 4 to 8
constexpr std::int64_t kTurns = 400'000;

#if defined(__x86_64__)
using Wide = float __attribute__((vector_size(64)));
using Narrow = float __attribute__((vector_size(32)));

__attribute__((target("avx512f,fma"))) void multiply_adds_avx512() {
  Wide acc[kChains] = {};
  const Wide x = Wide{} + 0.5F;
  for (Wide& a : acc) benchmark::DoNotOptimize(a);  // or the equal chains become one
  for (std::int64_t i = 0; i < kTurns; ++i) {
    for (Wide& a : acc) a = a * x + x;
  }
  for (Wide& a : acc) benchmark::DoNotOptimize(a);
}

__attribute__((target("avx2,fma"))) void multiply_adds_avx2() {
  Narrow acc[kChains / 2 + 4] = {};
  const Narrow x = Narrow{} + 0.5F;
  for (Narrow& a : acc) benchmark::DoNotOptimize(a);
  for (std::int64_t i = 0; i < kTurns; ++i) {
    for (Narrow& a : acc) a = a * x + x;
  }
  for (Narrow& a : acc) benchmark::DoNotOptimize(a);
}
#endif

// Floating point operations per second of multiply-adds in registers on all threads; 0 if unknown
// here.
double multiply_add_rate() {
#if defined(__x86_64__)
  const bool wide = active_isa() >= Isa::kAvx512;
  const double per_turn = wide ? kChains * 16 * 2 : (kChains / 2 + 4) * 8 * 2;
  const int threads = num_threads();
  const double seconds = best_seconds(9, [&] {
    parallel_for(threads, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        wide ? multiply_adds_avx512() : multiply_adds_avx2();
    });
  });
  return per_turn * static_cast<double>(kTurns) * threads / seconds;
#else
  return 0;
#endif
}

// Bytes read plus bytes written per second when all threads scale `bytes` of floats in place.
double update_bandwidth(std::int64_t bytes) {
  std::vector<float> data(static_cast<std::size_t>(bytes / 4), 1.0F);
  const double seconds = best_seconds(7, [&] {
    parallel_for(bytes / 4, 8192, [&](std::int64_t begin, std::int64_t end) {
      float* p = data.data();
      for (std::int64_t i = begin; i < end; ++i) p[i] *= 0.999F;
    });
    benchmark::ClobberMemory();
  });
  return 2.0 * static_cast<double>(bytes) / seconds;
}

// `batch` sequences of `tokens` tokens, with the states of `layers` layers.
struct Problem {
  GlaShape shape;
  std::int64_t batch, tokens, state_size;
  std::vector<float> q, k, v, g, o, states;
  std::vector<GlaSequence> sequences;

  Problem(const benchmark::State& args, std::int64_t batch_size, std::int64_t length,
          std::int64_t layers)
      : batch(batch_size), tokens(length) {
    const std::int64_t heads = args.range(0), dk = args.range(1), dv = args.range(2);
    shape = {heads, heads, dk, dv, 1.0F / std::sqrt(static_cast<float>(dk))};
    state_size = heads * dk * dv;
    const auto filled = [&](std::int64_t width) {
      std::vector<float> x(static_cast<std::size_t>(batch * tokens * width));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) * 0.05F - 0.3F;
      return x;
    };
    q = filled(heads * dk);
    k = filled(heads * dk);
    g = filled(heads * dk);
    v = filled(heads * dv);
    o = filled(heads * dv);
    gla_log_decay(g.data(), static_cast<std::int64_t>(g.size()), 16.0F, false, 0.0F);
    states.assign(static_cast<std::size_t>(layers * batch * state_size), 0.01F);
    sequences.resize(static_cast<std::size_t>(batch));
  }

  void run(std::int64_t layer) {
    for (std::int64_t s = 0; s < batch; ++s) {
      float* state = states.data() + (layer * batch + s) * state_size;
      sequences[static_cast<std::size_t>(s)] = {s * tokens, tokens, state};
    }
    gla_forward(shape, sequences.data(), batch, q.data(), k.data(), v.data(), g.data(), o.data());
  }

  // Operations the recurrence itself needs: the outer product and the output.
  double operations() const { return 4.0 * static_cast<double>(batch * tokens * state_size); }
};

void prefill_bench(benchmark::State& state) {
  const std::int64_t tokens = state.range(3);
  Problem problem(state, 1, tokens, 1);
  const double peak = multiply_add_rate();
  const double product = product_rate();
  double best = 1e30;
  for (auto _ : state) best = std::min(best, best_seconds(5, [&] { problem.run(0); }));
  state.counters["us/token"] = best * 1e6 / static_cast<double>(tokens);
  state.counters["GFLOP/s"] = problem.operations() / best * 1e-9;
  state.counters["share_of_fma"] = problem.operations() / best / peak;
  state.counters["share_of_product"] = problem.operations() / best / product;
}
BENCHMARK(prefill_bench)
    ->Name("gla_prefill")
    ->ArgNames({"heads", "dk", "dv", "tokens"})
    ->Args({4, 256, 512, 2048})
    ->Args({5, 256, 512, 2048})
    ->Args({4, 48, 96, 2048})
    ->Args({4, 256, 512, 64})
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

// One token through the states of all layers of a model in turn, so that they come from where they
// would come from when decoding.
void decode_bench(benchmark::State& state) {
  const std::int64_t batch = state.range(3), layers = state.range(4);
  Problem problem(state, batch, 1, layers);
  const auto bytes = static_cast<std::int64_t>(problem.states.size() * sizeof(float));
  const double ceiling = update_bandwidth(bytes);
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(best, best_seconds(7, [&] {
                      for (std::int64_t layer = 0; layer < layers; ++layer) problem.run(layer);
                    }));
  }
  const double moved = 2.0 * static_cast<double>(bytes);
  state.counters["us/layer"] = best * 1e6 / static_cast<double>(layers);
  state.counters["us/token"] = best * 1e6 / static_cast<double>(layers * batch);
  state.counters["GB/s"] = moved / best * 1e-9;
  state.counters["share_of_update"] = moved / best / ceiling;
}
BENCHMARK(decode_bench)
    ->Name("gla_decode")
    ->ArgNames({"heads", "dk", "dv", "batch", "layers"})
    ->Args({4, 256, 512, 1, 24})
    ->Args({4, 256, 512, 8, 24})
    ->Args({5, 256, 512, 1, 32})
    ->Args({5, 256, 512, 8, 32})
    ->Args({4, 48, 96, 1, 12})
    ->Args({4, 48, 96, 8, 12})
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

void log_decay_bench(benchmark::State& state) {
  std::vector<float> r(static_cast<std::size_t>(state.range(0)));
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(best, best_seconds(9, [&] {
                      std::fill(r.begin(), r.end(), 1.5F);
                      gla_log_decay(r.data(), state.range(0), 16.0F, false, 0.0F);
                    }));
  }
  state.counters["ns/gate"] = best * 1e9 / static_cast<double>(state.range(0));
}
BENCHMARK(log_decay_bench)->Name("gla_log_decay")->Arg(1024)->Arg(2048 * 1024)->Iterations(3);

}  // namespace
}  // namespace aquatint::kernels
