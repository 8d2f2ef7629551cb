// The mixer of Llama at the shape of Llama-3.2-1B: what everything beside its matrix products -
// rotation, the cache, attention itself - takes as a share of the products of the layer (q, k, v,
// o and the feed-forward part), in prefill and in decoding after a prompt.
#include <cmath>

#include "kernels/rope/rope.h"
#include "layers/attention_mixer.h"
#include "layers/mixer_bench.h"

namespace aquatint {
namespace {

constexpr std::int64_t kHidden = 2048, kInner = 8192, kHeads = 32, kKvHeads = 8, kHeadDim = 64;

// As a model is loaded: bfloat16 beside quantized weights.
std::unique_ptr<Mixer> mixer(Weights weights, kernels::KvType kv_cache) {
  AttentionConfig config;
  config.heads = kHeads;
  config.kv_heads = kKvHeads;
  config.head_dim = kHeadDim;
  config.inv_freq = kernels::rope_inverse_frequencies(kHeadDim, 5e5);
  LoadOptions options;
  options.kv_cache = kv_cache;
  options.compute = weights == kFloat32 ? kernels::DenseType::kF32 : kernels::DenseType::kBF16;
  AttentionWeights w;
  w.q = linear(kHidden, kHidden, weights);
  w.k = linear(kKvHeads * kHeadDim, kHidden, weights);
  w.v = linear(kKvHeads * kHeadDim, kHidden, weights);
  w.o = linear(kHidden, kHidden, weights);
  return std::make_unique<AttentionMixer>(config.with(options), std::move(w), Stream::cpu());
}

std::vector<Linear> projections(Weights weights) {
  std::vector<Linear> linears;
  linears.push_back(linear(kHidden, kHidden, weights));
  linears.push_back(linear(kKvHeads * kHeadDim, kHidden, weights));
  linears.push_back(linear(kKvHeads * kHeadDim, kHidden, weights));
  linears.push_back(linear(kHidden, kHidden, weights));
  return linears;
}

std::vector<Linear> feed_forward(Weights weights) {
  std::vector<Linear> linears;
  linears.push_back(linear(kInner, kHidden, weights));
  linears.push_back(linear(kInner, kHidden, weights));
  linears.push_back(linear(kHidden, kInner, weights));
  return linears;
}

void mixer_bench(benchmark::State& state) {
  const auto weights = static_cast<Weights>(state.range(0));
  const auto kv_cache = static_cast<kernels::KvType>(state.range(1));
  const std::int64_t past = state.range(2), tokens = state.range(3);
  const std::int64_t step = std::min(tokens, kStepRows);
  const auto attention = mixer(weights, kv_cache);
  const auto own = projections(weights), others = feed_forward(weights);
  const Tensor x = values({kStepRows, kInner}, -1.0f, 1.0f),
               y = Tensor::zeros({kStepRows, kHidden}, DType::kF32);
  Workspace workspace;
  ForwardContext context{workspace};
  const auto run_mixer = [&](BlockState& sequence, std::int64_t begin, std::int64_t end) {
    for (std::int64_t done = begin; done < end; done += step) {
      const Workspace::Scope scope(workspace);
      const std::int64_t n = std::min(step, end - done);
      const Segment segment{0, n, done, &sequence};
      LinearInput input = LinearInput::values(context, x.data<float>(), n, kHidden);
      attention->forward(context, input, {&segment, 1}, y.mutable_data<float>());
    }
  };
  const auto run_alone = [&](const std::vector<Linear>& linears) {
    for (std::int64_t done = 0; done < tokens; done += step) {
      run_products(context, linears, x.data<float>(), step);
    }
  };
  const auto prompt = attention->new_state();
  run_mixer(*prompt, 0, past);
  double whole = 1e30, mine = 1e30, rest = 1e30;
  for (auto _ : state) {  // in turn, so that other load on the machine meets all
    const auto sequence = prompt->clone();
    // The cache grows by doubling: not in every step, nor in the one that is timed.
    const std::int64_t before = past > 0 ? past + 1 : 0;
    run_mixer(*sequence, past, before);
    whole = std::min(whole, seconds_of([&] { run_mixer(*sequence, before, before + tokens); }));
    mine = std::min(mine, seconds_of([&] { run_alone(own); }));
    rest = std::min(rest, seconds_of([&] { run_alone(others); }));
  }
  const auto per_token = [&](double seconds) {
    return seconds * 1e6 / static_cast<double>(tokens);
  };
  state.counters["us/token"] = per_token(whole);
  state.counters["products"] = per_token(mine + rest);
  state.counters["rest"] = per_token(whole - mine);
  state.counters["rest_of_products"] = (whole - mine) / (mine + rest);
}
BENCHMARK(mixer_bench)
    ->Name("attention_mixer")
    ->ArgNames({"weights", "kv", "past", "tokens"})
    ->ArgsProduct({{kInt8, kInt4, kBfloat16, kFloat32}, {0}, {0}, {2048}})
    ->ArgsProduct({{kInt8}, {1, 2}, {0}, {2048}})
    ->ArgsProduct({{kInt8, kInt4}, {0, 1, 2}, {2048}, {1}})
    ->Iterations(7)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace aquatint
