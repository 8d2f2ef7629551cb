// The causal convolution against the speed of copying as many bytes as it moves.
#include "kernels/bench_ceilings.h"
#include "kernels/conv1d_causal/conv1d_causal.h"

namespace aquatint::kernels {
namespace {

void conv_bench(benchmark::State& state) {
  const std::int64_t count = state.range(0), tokens = state.range(1), channels = state.range(2);
  constexpr std::int64_t kKernel = 4;
  const auto n = static_cast<std::size_t>(count * tokens * channels);
  const std::vector<float> x(n, 0.5F), w(static_cast<std::size_t>(channels * kKernel), 0.25F);
  const auto window = static_cast<std::size_t>((kKernel - 1) * channels);
  std::vector<float> y(n), windows(static_cast<std::size_t>(count) * window);
  std::vector<ConvSequence> sequences;
  for (std::int64_t s = 0; s < count; ++s) {
    sequences.push_back(
        {s * tokens, tokens, windows.data() + static_cast<std::size_t>(s) * window});
  }
  // Inputs, outputs and taps once; windows are read and written.
  const std::size_t values = 2 * n + w.size() + 2 * windows.size();
  report_share_of_copy(state, static_cast<double>(values * 4), [&] {
    conv1d_causal(x.data(), channels, channels, kKernel, w.data(), nullptr, true, sequences.data(),
                  count, y.data());
  });
}
BENCHMARK(conv_bench)
    ->Name("conv1d_causal")
    ->ArgNames({"sequences", "tokens", "channels"})
    ->Args({1, 1, 2048})
    ->Args({64, 1, 2048})
    ->Args({1, 128, 2048})
    ->Args({1, 2048, 2048})
    ->Args({4, 2048, 5120})
    ->Iterations(5);

}  // namespace
}  // namespace aquatint::kernels
