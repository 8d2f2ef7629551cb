// Products of many rows with int8 weights on a GPU: tiles that finish them, beside a library's
// int32 product with and without the pass that finishes it. Times are wall clock over many queued
// calls, best of several; operands come from several buffers in turn where they would fit in a
// cache.
#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/bench_cuda.h"
#include "kernels/matmul/matmul.h"
#include "kernels/quant_matmul/quant_matmul.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;
using testing::quick_bytes;

enum class Way { kTilesBf16, kTilesF32, kTilesAdd, kLibrary, kLibraryFinished };

GpuWeights weights(std::int64_t outputs, std::int64_t columns, unsigned seed) {
  QuantizedMatrix m;
  m.scheme = {8, true, Granularity::kRow, 0};
  m.values = Tensor::empty({outputs, columns}, DType::kI8);
  const auto values = quick_bytes(outputs * columns, seed);
  std::copy(values.begin(), values.end(), m.values.mutable_data<std::int8_t>());
  m.scales = Tensor::empty({outputs, 1}, DType::kF32);
  std::fill_n(m.scales.mutable_data<float>(), outputs, 0.01f);
  GpuWeights w = pack_gpu_weights(m);
  for (Tensor* tensor : {&w.data, &w.scales}) *tensor = tensor->on(gpu_stream());
  return w;
}

struct Operands {
  Operands(std::int64_t rows, std::int64_t outputs, std::int64_t columns, unsigned seed)
      : w(weights(outputs, columns, seed)),
        x(quick_bytes(rows * w.padded_columns, seed + 1)),
        scales(std::vector<float>(static_cast<std::size_t>(rows), 0.01f)),
        sums(std::vector<std::int32_t>(static_cast<std::size_t>(rows))) {}
  Int8Rows rows() const { return {x.data(), scales.data(), sums.data()}; }

  GpuWeights w;
  DeviceArray<std::int8_t> x;
  DeviceArray<float> scales;
  DeviceArray<std::int32_t> sums;
};

void multiply(Way way, const Operands& o, std::int64_t rows, float* y, std::int32_t* sums) {
  Stream& stream = gpu_stream();
  const std::int64_t outputs = o.w.outputs;
  if (way == Way::kLibrary || way == Way::kLibraryFinished) {
    matmul_int8_gpu(stream,
                    {o.x.data(), rows, o.w.padded_columns, o.w.data.data<std::int8_t>(), outputs,
                     o.w.padded_columns, o.w.padded_columns},
                    sums);
    if (way == Way::kLibrary) return;
    int8_epilogue(stream, sums, outputs, o.rows(), rows, o.w, nullptr, false, y, outputs);
    return;
  }
  const bool bf16 = way == Way::kTilesBf16;
  const TiledProduct product{&o.w,
                             nullptr,
                             bf16 ? nullptr : y,
                             bf16 ? reinterpret_cast<std::uint16_t*>(y) : nullptr,
                             outputs,
                             way == Way::kTilesAdd};
  quant_matmul_a8_tiles(stream, o.rows(), rows, std::span(&product, 1));
}

void product_bench(benchmark::State& state, Way way) {
  if (!testing::has_gpu()) return state.SkipWithError("no CUDA device");
  const std::int64_t rows = state.range(0), outputs = state.range(1), columns = state.range(2);
  std::vector<std::unique_ptr<Operands>> operands;
  for (unsigned i = 0; i < 3; ++i) {
    operands.push_back(std::make_unique<Operands>(rows, outputs, columns, 17 * i));
  }
  const bool tiles = way != Way::kLibrary && way != Way::kLibraryFinished;
  if (tiles && !has_int8_tiles(gpu_stream(), operands[0]->w)) {
    return state.SkipWithError("the device has no int8 tiles");
  }
  const auto n = static_cast<std::size_t>(rows * outputs);
  const DeviceArray y(std::vector<float>(n, 0.0f));
  const DeviceArray sums(std::vector<std::int32_t>(tiles ? 1 : n));
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(best, testing::seconds_per_call([&](int i) {
                      multiply(way, *operands[static_cast<std::size_t>(i % 3)], rows, y.data(),
                               sums.data());
                    }));
  }
  state.counters["us"] = best * 1e6;
  state.counters["TOP/s"] =
      2e-12 * static_cast<double>(rows) * static_cast<double>(outputs * columns) / best;
}

// GLA-1.3B's products at 8 x 2048 and 1 x 2048 tokens beside a square one.
void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "outputs", "columns"})
      ->Args({4096, 4096, 4096})
      ->Args({16384, 1024, 2048})
      ->Args({16384, 2048, 2048})
      ->Args({16384, 6144, 2048})
      ->Args({16384, 11264, 2048})
      ->Args({16384, 2048, 5632})
      ->Args({2048, 2048, 2048})
      ->Args({2048, 11264, 2048})
      ->Args({2048, 2048, 5632})
      ->Args({512, 2048, 2048})
      ->Args({512, 5632, 2048})
      ->Args({512, 2048, 5632})
      ->Args({128, 2048, 2048})
      ->Args({128, 5632, 2048})
      ->Args({128, 2048, 5632})
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(product_bench, bf16, Way::kTilesBf16)->Name("int8_tiles_bf16")->Apply(sizes);
BENCHMARK_CAPTURE(product_bench, f32, Way::kTilesF32)->Name("int8_tiles_f32")->Apply(sizes);
BENCHMARK_CAPTURE(product_bench, add, Way::kTilesAdd)->Name("int8_tiles_add")->Apply(sizes);
BENCHMARK_CAPTURE(product_bench, library, Way::kLibrary)->Name("int8_library")->Apply(sizes);
BENCHMARK_CAPTURE(product_bench, finished, Way::kLibraryFinished)
    ->Name("int8_library_finished")
    ->Apply(sizes);

}  // namespace
}  // namespace aquatint::kernels
