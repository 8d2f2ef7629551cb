// Products with few rows on a GPU, alone: one after another in a captured graph, as in a model,
// over copies of the weights that no cache holds, against copies on the device in the same run.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "kernels/bench_cuda.h"
#include "kernels/quant_matmul/quant_matmul.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

constexpr std::int64_t kFootprint = std::int64_t{384} << 20;  // of all copies, several L2 caches

enum class Form { kW4A16, kW8A8, kBF16 };

Tensor random_bytes(const Shape& shape, DType type) {
  Tensor t = Tensor::empty(shape, type);
  const auto bytes = testing::quick_bytes(static_cast<std::int64_t>(t.nbytes()));
  auto* to = reinterpret_cast<std::uint8_t*>(t.mutable_bytes());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    to[i] = static_cast<std::uint8_t>(bytes[i]);
    // bfloat16 between 2^-7 and 2, of either sign
    if (type == DType::kBF16 && i % 2 == 1)
      to[i] = static_cast<std::uint8_t>((to[i] & 0x83) | 0x3c);
  }
  return t;
}

GpuWeights packed_weights(Form form, std::int64_t outputs, std::int64_t columns) {
  GpuWeights w;
  w.bits = form == Form::kW4A16 ? 4 : 8;
  w.outputs = outputs;
  w.columns = w.padded_columns = columns;
  w.group_size = form == Form::kW4A16 ? 128 : columns;
  w.groups = columns / w.group_size;
  w.data = random_bytes({w.padded_outputs(), columns * w.bits / 8}, DType::kI8);
  w.scales = Tensor::empty({w.panels(), w.groups, GpuWeights::kPanel}, DType::kF32);
  std::fill_n(w.scales.mutable_data<float>(), w.scales.numel(), 0.01F);
  return w;
}

// The weights of one call; its copies differ in address only.
struct Weights {
  GpuWeights packed;
  Tensor dense;
};

Weights on_device(const Weights& host) {
  Weights copy = host;
  for (Tensor* t : {&copy.packed.data, &copy.packed.scales, &copy.dense}) {
    if (t->defined()) *t = t->on(gpu_stream());
  }
  return copy;
}

// With `made` each product makes its rows itself, from float32 values that it normalizes.
void few_rows_bench(benchmark::State& state, Form form, bool made) {
  if (!testing::has_gpu()) return state.SkipWithError("no CUDA device");
  const std::int64_t outputs = state.range(0), columns = state.range(1), rows = state.range(2);
  Weights host;
  if (form == Form::kBF16) {
    host.dense = random_bytes({outputs, columns}, DType::kBF16);
  } else {
    host.packed = packed_weights(form, outputs, columns);
  }
  const auto bytes =
      static_cast<std::int64_t>(form == Form::kBF16 ? host.dense.nbytes() : host.packed.nbytes());
  std::vector<Weights> copies(static_cast<std::size_t>(kFootprint / bytes + 1));
  for (Weights& w : copies) w = on_device(host);

  const Tensor x16 = random_bytes({rows, columns}, DType::kBF16).on(gpu_stream());
  const Tensor x8 = random_bytes({rows, columns}, DType::kI8).on(gpu_stream());
  const DeviceArray<float> x_scales(std::vector<float>(static_cast<std::size_t>(rows), 0.01F));
  const DeviceArray<std::int32_t> sums(std::vector<std::int32_t>(static_cast<std::size_t>(rows)));
  const auto y = DeviceArray<float>::poisoned(static_cast<std::size_t>(rows * outputs));
  const DeviceArray<float> values(testing::quick_numbers(rows * columns));
  RowSource source;
  source.x = values.data();
  source.ldx = source.norm_columns = columns;
  const auto multiply_made = [&](const Weights& w) {
    const GpuProduct product{&w.packed, nullptr, y.data(), outputs};
    if (form == Form::kW4A16) {
      quant_matmul_a16(gpu_stream(), source, rows, std::span(&product, 1), nullptr, 0);
    } else {
      quant_matmul_a8(gpu_stream(), source, rows, std::span(&product, 1), nullptr, 0);
    }
  };
  const auto multiply = [&](const Weights& w) {
    if (made) return multiply_made(w);
    if (form == Form::kW4A16) {
      quant_matmul_a16(gpu_stream(), x16.data<std::uint16_t>(), columns, rows, w.packed, nullptr,
                       y.data(), outputs);
    } else if (form == Form::kW8A8) {
      quant_matmul_a8(gpu_stream(), {x8.data<std::int8_t>(), x_scales.data(), sums.data()}, rows,
                      w.packed, nullptr, y.data(), outputs);
    } else {
      const GpuDenseProduct product{
          w.dense.data<std::uint16_t>(), outputs, columns, nullptr, y.data(), outputs};
      dense_matmul_few(gpu_stream(), x16.data<std::uint16_t>(), columns, rows,
                       std::span(&product, 1));
    }
  };
  multiply(copies[0]);
  gpu_stream().begin_capture();
  for (const Weights& w : copies) multiply(w);
  const auto graph = gpu_stream().end_capture();
  double best = 1e30;
  for (auto _ : state) {
    const double all = testing::seconds_per_call([&](int) { gpu_stream().run(*graph); }, 5);
    best = std::min(best, all / static_cast<double>(copies.size()));
  }
  static const double copy = testing::device_copy_bandwidth(std::int64_t{1} << 28);
  state.counters["us"] = best * 1e6;
  state.counters["GB/s"] = 1e-9 * static_cast<double>(bytes) / best;
  state.counters["share_of_copy"] = static_cast<double>(bytes) / best / copy;
}

void sizes(benchmark::internal::Benchmark* bench, bool made) {
  bench->ArgNames({"outputs", "columns", "rows"})->Iterations(1)->Unit(benchmark::kMillisecond);
  for (const auto& [outputs, columns] : {std::pair{2048, 2048},
                                         {5632, 2048},
                                         {2048, 5632},
                                         {32000, 2048},
                                         {8192, 8192},
                                         {14336, 4096}}) {
    for (const int rows : made ? std::vector{1} : std::vector{1, 4, 16})
      bench->Args({outputs, columns, rows});
  }
}
void given_sizes(benchmark::internal::Benchmark* bench) {
  sizes(bench, false);
}
void made_sizes(benchmark::internal::Benchmark* bench) {
  sizes(bench, true);
}

BENCHMARK_CAPTURE(few_rows_bench, a, Form::kW4A16, false)
    ->Name("few_rows_w4a16")
    ->Apply(given_sizes);
BENCHMARK_CAPTURE(few_rows_bench, b, Form::kW8A8, false)->Name("few_rows_w8a8")->Apply(given_sizes);
BENCHMARK_CAPTURE(few_rows_bench, c, Form::kBF16, false)->Name("few_rows_bf16")->Apply(given_sizes);
BENCHMARK_CAPTURE(few_rows_bench, d, Form::kW4A16, true)
    ->Name("made_rows_w4a16")
    ->Apply(made_sizes);
BENCHMARK_CAPTURE(few_rows_bench, e, Form::kW8A8, true)->Name("made_rows_w8a8")->Apply(made_sizes);
}  // namespace
}  // namespace aquatint::kernels
