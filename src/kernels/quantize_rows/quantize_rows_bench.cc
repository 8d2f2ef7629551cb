// Making the inputs of quantized products, int8 and bfloat16, against the speed of copying memory
// in the same run: GB/s counts the bytes read and written once.
#include "kernels/bench_ceilings.h"
#include "kernels/quantize_rows/quantize_rows.h"

namespace aquatint::kernels {
namespace {

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

std::vector<float> values_of(std::int64_t n) {
  std::vector<float> values(size(n));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(static_cast<int>(i * 37 % 255) - 127) * 0.03F;
  }
  return values;
}

void int8_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), columns = state.range(1), group = state.range(2);
  const std::int64_t groups = columns / group;
  const auto x = values_of(rows * columns);
  std::vector<std::int8_t> values(x.size());
  std::vector<float> scales(size(rows));
  std::vector<std::int32_t> sums(size(rows * groups));
  report_share_of_copy(state, static_cast<double>(rows * columns * 5), [&] {
    quantize_rows_int8(x.data(), rows, columns, group, groups, values.data(), scales.data(),
                       sums.data());
  });
}

void bf16_bench(benchmark::State& state) {
  const std::int64_t rows = state.range(0), columns = state.range(1), group = state.range(2);
  const std::int64_t groups = columns / group;
  const auto x = values_of(rows * columns);
  std::vector<std::uint16_t> values(x.size());
  std::vector<float> sums(size(rows * groups));
  report_share_of_copy(state, static_cast<double>(rows * columns * 6), [&] {
    round_rows_bf16(x.data(), rows, columns, group, groups, values.data(), sums.data());
  });
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t rows : {1, 128, 2048}) {
    for (const std::int64_t group : {2048, 128, 32}) bench->Args({rows, 2048, group});
  }
  bench->Iterations(5)->ArgNames({"rows", "columns", "group"});
}

BENCHMARK(int8_bench)->Name("quantize_rows_int8")->Apply(shapes);
BENCHMARK(bf16_bench)->Name("round_rows_bf16")->Apply(shapes);

}  // namespace
}  // namespace aquatint::kernels
