// Layer normalization against the speed of copying memory, measured in the same run: GB/s counts
// the bytes each form must read and write.
#include "kernels/bench_ceilings.h"
#include "kernels/layer_norm/layer_norm.h"

namespace aquatint::kernels {
namespace {

constexpr float kEps = 1e-5F;
constexpr std::int64_t kGroup = 128;

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

void norm_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), columns = state.range(1);
  const std::vector<float> x(size(rows * columns), 0.5F), w(size(columns), 1.5F);
  std::vector<float> y(x.size());
  report_share_of_copy(state, static_cast<double>(rows * columns * 8), [&] {
    layer_norm(x.data(), w.data(), w.data(), rows, columns, kEps, y.data());
  });
}

void norm_int8_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), columns = state.range(1);
  const std::vector<float> x(size(rows * columns), 0.5F), w(size(columns), 1.5F);
  std::vector<std::int8_t> values(x.size());
  std::vector<float> scales(size(rows));
  std::vector<std::int32_t> sums(size(rows * columns / kGroup));
  report_share_of_copy(state, static_cast<double>(rows * columns * 5), [&] {
    layer_norm_int8(x.data(), w.data(), w.data(), rows, columns, kEps, kGroup, columns / kGroup,
                    values.data(), scales.data(), sums.data());
  });
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t rows : {1, 128, 2048}) bench->Args({rows, 768});
  bench->Iterations(5)->ArgNames({"rows", "columns"});
}

BENCHMARK(norm_bench)->Name("layer_norm")->Apply(shapes);
BENCHMARK(norm_int8_bench)->Name("layer_norm_int8")->Apply(shapes);

}  // namespace
}  // namespace aquatint::kernels
