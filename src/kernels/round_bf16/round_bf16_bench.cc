// Rounding to bfloat16, and the residual addition, against the speed of copying memory in the same
// run: GB/s counts the bytes read and written once.
#include "kernels/bench_ceilings.h"
#include "kernels/residual_add/residual_add.h"
#include "kernels/round_bf16/round_bf16.h"

namespace aquatint::kernels {
namespace {

void round_bench(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const std::vector<float> x(static_cast<std::size_t>(n), 1.7F);
  std::vector<std::uint16_t> y(x.size());
  report_share_of_copy(state, static_cast<double>(n * 6),
                       [&] { round_bf16(x.data(), n, y.data()); });
}

void residual_bench(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  std::vector<float> hidden(static_cast<std::size_t>(n), 1.7F);
  const std::vector<float> delta(hidden.size(), 1e-6F);
  report_share_of_copy(state, static_cast<double>(n * 12),
                       [&] { residual_add(Stream::cpu(), hidden.data(), delta.data(), n); });
}

void sizes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t n : {2048, 128 * 2048, 2048 * 2048}) bench->Arg(n);
  bench->Iterations(5)->ArgName("values");
}

BENCHMARK(round_bench)->Name("round_bf16")->Apply(sizes);
BENCHMARK(residual_bench)->Name("residual_add")->Apply(sizes);

}  // namespace
}  // namespace aquatint::kernels
