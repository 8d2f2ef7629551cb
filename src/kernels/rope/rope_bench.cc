// The rotary embedding against the speed of copying as many bytes as it moves.
#include <numeric>

#include "kernels/bench_ceilings.h"
#include "kernels/rope/rope.h"

namespace aquatint::kernels {
namespace {

void rope_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), heads = state.range(1), head_dim = state.range(2);
  const auto frequencies = rope_inverse_frequencies(head_dim, 500000);
  std::vector<float> x(static_cast<std::size_t>(rows * heads * head_dim), 0.5F);
  std::vector<std::int32_t> positions(static_cast<std::size_t>(rows));
  std::iota(positions.begin(), positions.end(), 0);
  report_share_of_copy(state, static_cast<double>(rows * heads * head_dim * 8), [&] {
    rope(x.data(), rows, heads, head_dim, positions.data(), frequencies.data());
  });
}
BENCHMARK(rope_bench)
    ->Name("rope")
    ->ArgNames({"rows", "heads", "head_dim"})
    ->Args({1, 32, 128})
    ->Args({128, 8, 128})
    ->Args({2048, 8, 64})
    ->Args({2048, 32, 128})
    ->Iterations(5);

}  // namespace
}  // namespace aquatint::kernels
