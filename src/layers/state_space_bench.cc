// The mixers of Mamba and Mamba-2 at the shape of 1.3 billion parameters: what everything beside
// their matrix products takes, as a share of those products, in prefill and in decoding. A layer of
// these models is its mixer, so this is the share of the layer.
#include <limits>

#include "layers/mamba2_mixer.h"
#include "layers/mamba_mixer.h"
#include "layers/mixer_bench.h"

namespace aquatint {
namespace {

constexpr std::int64_t kHidden = 2048, kInner = 4096;

std::unique_ptr<Mixer> mamba(Weights weights) {
  const MambaConfig config{kInner, 16, 128, 4};
  MambaWeights w;
  w.in = linear(2 * kInner, kHidden, weights);
  w.x = linear(config.rank + 2 * config.states, kInner, weights);
  w.dt = linear(kInner, config.rank, weights);
  w.out = linear(kHidden, kInner, weights);
  w.conv = values({kInner, 4}, -0.5f, 0.5f);
  w.conv_bias = values({kInner}, -0.5f, 0.5f);
  w.rates = values({config.states, kInner}, -20.0f, -0.5f);
  w.skip = values({kInner}, 0.5f, 1.5f);
  return std::make_unique<MambaMixer>(config, std::move(w));
}

// As a model is loaded: bfloat16 beside quantized weights.
std::unique_ptr<Mixer> mamba2(Weights weights) {
  Mamba2Config config;
  if (weights != kFloat32) config.arithmetic = kernels::SsdArithmetic::kBFloat16;
  config.shape = {64, 1, 64, 128};
  config.conv_size = 4;
  config.norm_group_size = kInner;
  config.dt_high = std::numeric_limits<float>::infinity();
  Mamba2Weights w;
  w.in = linear(config.projected(), kHidden, weights);
  w.out = linear(kHidden, kInner, weights);
  w.conv = values({config.conv_channels(), 4}, -0.5f, 0.5f);
  w.conv_bias = values({config.conv_channels()}, -0.5f, 0.5f);
  w.dt_bias = values({64}, -5.0f, -1.0f);
  w.rates = values({64}, -20.0f, -0.5f);
  w.skip = values({64}, 0.5f, 1.5f);
  w.norm = values({kInner}, 0.5f, 1.5f);
  return std::make_unique<Mamba2Mixer>(config, std::move(w));
}

std::vector<Linear> products(bool second, Weights weights) {
  std::vector<Linear> linears;
  if (second) {
    linears.push_back(linear(2 * kInner + 256 + 64, kHidden, weights));
  } else {
    linears.push_back(linear(2 * kInner, kHidden, weights));
    linears.push_back(linear(160, kInner, weights));
    linears.push_back(linear(kInner, 128, weights));
  }
  linears.push_back(linear(kHidden, kInner, weights));
  return linears;
}

void mixer_bench(benchmark::State& state) {
  const bool second = state.range(0) == 2;
  const auto weights = static_cast<Weights>(state.range(1));
  const std::int64_t tokens = state.range(2), step = std::min(tokens, kStepRows);
  const auto mixer = second ? mamba2(weights) : mamba(weights);
  const auto linears = products(second, weights);
  const Tensor x = values({step, kInner}, -1.0f, 1.0f),
               y = Tensor::zeros({step, kHidden}, DType::kF32);
  const auto sequence = mixer->new_state();
  Workspace workspace;
  ForwardContext context{workspace};
  const auto run_mixer = [&] {
    for (std::int64_t done = 0; done < tokens; done += step) {
      const Workspace::Scope scope(workspace);
      const Segment segment{0, step, done, sequence.get()};
      LinearInput input = LinearInput::values(context, x.data<float>(), step, kHidden);
      mixer->forward(context, input, {&segment, 1}, y.mutable_data<float>());
    }
  };
  const auto run_alone = [&] {
    for (std::int64_t done = 0; done < tokens; done += step) {
      run_products(context, linears, x.data<float>(), step);
    }
  };
  double whole = 1e30, alone = 1e30;
  for (auto _ : state) {  // in turn, so that other load on the machine meets both
    whole = std::min(whole, seconds_of(run_mixer));
    alone = std::min(alone, seconds_of(run_alone));
  }
  const auto per_token = [&](double seconds) {
    return seconds * 1e6 / static_cast<double>(tokens);
  };
  state.counters["us/token"] = per_token(whole);
  state.counters["products"] = per_token(alone);
  state.counters["rest"] = per_token(whole - alone);
  state.counters["rest_of_products"] = (whole - alone) / alone;
}
BENCHMARK(mixer_bench)
    ->Name("state_space_mixer")
    ->ArgNames({"mamba", "weights", "tokens"})
    ->ArgsProduct({{1, 2}, {kInt8, kInt4, kBfloat16, kFloat32}, {2048}})
    ->ArgsProduct({{1, 2}, {kInt8, kInt4}, {1}})
    ->Iterations(7)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace aquatint
