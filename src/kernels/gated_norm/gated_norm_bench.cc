// The gated norm against the speed of copying as many bytes as it moves.
#include "kernels/bench_ceilings.h"
#include "kernels/gated_norm/gated_norm.h"

namespace aquatint::kernels {
namespace {

void gated_norm_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), heads = state.range(1), dv = state.range(2);
  const auto n = static_cast<std::size_t>(rows * heads * dv);
  const std::vector<float> o(n, 0.5F), gate(n, 0.25F), w(static_cast<std::size_t>(dv), 1.5F);
  std::vector<float> y(n);
  report_share_of_copy(state, static_cast<double>(n * 12), [&] {
    gated_rms_norm(o.data(), gate.data(), w.data(), rows, heads, dv, 1e-6F, y.data());
  });
}
BENCHMARK(gated_norm_bench)
    ->Name("gated_norm")
    ->ArgNames({"rows", "heads", "dv"})
    ->Args({1, 4, 512})
    ->Args({128, 4, 512})
    ->Args({2048, 4, 512})
    ->Args({8192, 4, 256})
    ->Iterations(5);

}  // namespace
}  // namespace aquatint::kernels
