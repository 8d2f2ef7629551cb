// Attention of prompts against the rate of a float32 matrix product, and of single tokens against
// the speed of reading their keys and values.
#include "kernels/attention/attention.h"
#include "kernels/bench_ceilings.h"

namespace aquatint::kernels {
namespace {

struct Problem {
  AttentionShape shape;
  std::vector<AttentionSequence> sequences;
  std::vector<float> keys, values, scales, q, o;  // keys and values: memory for any type

  Problem(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, std::int64_t count,
          std::int64_t tokens, std::int64_t past, KvType kv, AttentionArithmetic arithmetic)
      : shape{heads, kv_heads, head_dim, 0.1F, 0, kv, arithmetic} {
    const auto cache = static_cast<std::size_t>((past + tokens) * kv_heads * head_dim);
    scales.assign(static_cast<std::size_t>((past + tokens) * kv_heads), 0.01F);
    keys.assign(cache * static_cast<std::size_t>(count), 0.0F);
    values.assign(keys.size(), 0.5F);
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<float>(i % 7) * 0.1F;
    q.assign(static_cast<std::size_t>(count * tokens * heads * head_dim), 0.5F);
    o.resize(q.size());
    for (std::int64_t s = 0; s < count; ++s) {
      const std::size_t at = static_cast<std::size_t>(s) * cache;
      sequences.push_back({s * tokens, tokens, past, keys.data() + at, values.data() + at,
                           scales.data(), scales.data()});
    }
  }

  double seconds(int times) {
    return best_seconds(times, [&] {
      attention(shape, sequences.data(), static_cast<std::int64_t>(sequences.size()), q.data(),
                o.data());
    });
  }
};

void prefill_bench(benchmark::State& state) {
  const std::int64_t heads = state.range(0), head_dim = state.range(2);
  const std::int64_t tokens = state.range(3);
  Problem problem(heads, state.range(1), head_dim, 1, tokens, 0, KvType::kF32,
                  static_cast<AttentionArithmetic>(state.range(4)));
  const double ceiling = product_rate();
  double best = 1e30;
  for (auto _ : state) best = std::min(best, problem.seconds(4));
  // Two products over the visible half of the scores; exponentials do not count.
  const double operations =
      4.0 * static_cast<double>(heads * head_dim) * static_cast<double>(tokens * (tokens + 1) / 2);
  state.counters["ms"] = best * 1e3;
  state.counters["GFLOP/s"] = operations / best * 1e-9;
  state.counters["share_of_product"] = operations / best / ceiling;
}
BENCHMARK(prefill_bench)
    ->Name("attention_prefill")
    ->ArgNames({"heads", "kv_heads", "head_dim", "tokens", "bf16"})
    ->Args({32, 8, 64, 128, 0})
    ->Args({32, 8, 64, 2048, 0})
    ->Args({32, 8, 128, 512, 0})
    ->Args({32, 8, 128, 2048, 0})
    ->Args({12, 12, 64, 1024, 0})
    ->Args({32, 8, 64, 2048, 1})
    ->Args({32, 8, 128, 2048, 1})
    ->Args({12, 12, 64, 1024, 1})
    ->Iterations(3);

void decode_bench(benchmark::State& state) {
  const std::int64_t kv_heads = state.range(1), head_dim = state.range(2);
  const std::int64_t count = state.range(3), past = state.range(4);
  const auto kv = static_cast<KvType>(state.range(5));
  Problem problem(state.range(0), kv_heads, head_dim, count, 1, past, kv,
                  AttentionArithmetic::kFloat32);
  const std::int64_t bytes = count * (past + 1) * kv_position_bytes(kv, kv_heads, head_dim);
  const double ceiling = read_bandwidth(bytes);
  double best = 1e30;
  for (auto _ : state) best = std::min(best, problem.seconds(20));
  state.counters["us"] = best * 1e6;
  state.counters["GB/s"] = static_cast<double>(bytes) / best * 1e-9;
  state.counters["share_of_read"] = static_cast<double>(bytes) / best / ceiling;
}
BENCHMARK(decode_bench)
    ->Name("attention_decode")
    ->ArgNames({"heads", "kv_heads", "head_dim", "sequences", "past", "kv"})
    ->Args({32, 8, 64, 1, 512, 0})
    ->Args({32, 8, 64, 1, 4096, 0})
    ->Args({32, 8, 128, 1, 4096, 0})
    ->Args({12, 12, 64, 1, 1000, 0})
    ->Args({32, 32, 128, 1, 4096, 0})
    ->Args({32, 8, 128, 16, 2048, 0})
    ->Args({32, 8, 128, 1, 4096, 1})
    ->Args({32, 8, 128, 1, 4096, 2})
    ->Iterations(3);

}  // namespace
}  // namespace aquatint::kernels
