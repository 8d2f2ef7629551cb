// Products through this folder against the library called directly, with the layout it likes best
// for that number of rows (share_of_bare), and for few rows against the speed of reading memory
// (share_of_read). Weights are taken in turn from copies that together do not fit in the cache.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "base/threads.h"
#include "kernels/matmul/matmul.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kPoolBytes = std::int64_t{192} << 20;
constexpr std::int64_t kFewRows = 32;

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// Best of several timings of body(), in seconds.
double best_seconds(const std::function<void()>& body) {
  double best = 1e30;
  for (int i = 0; i < 7; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::min(best, elapsed.count());
  }
  return best;
}

// Bytes per second that all threads together read from memory.
double read_bandwidth() {
  static const std::vector<std::uint64_t> data(size(kPoolBytes / 8), 1);
  const auto n = static_cast<std::int64_t>(data.size());
  const double seconds = best_seconds([&] {
    parallel_for(n, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
      std::uint64_t sum = 0;
      for (std::int64_t i = begin; i < end; ++i) sum += data[size(i)];
      benchmark::DoNotOptimize(sum);
    });
  });
  return static_cast<double>(kPoolBytes) / seconds;
}

using DataType = dnnl::memory::data_type;

struct Types {
  DataType x, w, y;
  std::int64_t w_size;
};
constexpr Types kF32Types{DataType::f32, DataType::f32, DataType::f32, 4};
constexpr Types kBF16Types{DataType::bf16, DataType::bf16, DataType::f32, 2};
constexpr Types kU8S8Types{DataType::u8, DataType::s8, DataType::s32, 1};

// Seconds of one bare product.
double bare_seconds(const Types& types, std::int64_t m, std::int64_t n, std::int64_t k) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  using Tag = dnnl::memory::format_tag;
  const dnnl::memory::desc x({m, k}, types.x, Tag::ab), y({m, n}, types.y, Tag::ab);
  const dnnl::memory::desc any({k, n}, types.w, Tag::any);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(engine, x, any, y);
#else
  const dnnl::matmul::primitive_desc description({x, any, y}, engine);
#endif
  const dnnl::matmul product(description);
  const std::int64_t copies = m <= kFewRows ? kPoolBytes / (n * k * types.w_size) : 1;
  std::vector<dnnl::memory> weights;
  for (std::int64_t i = 0; i < copies; ++i) {
    weights.emplace_back(description.weights_desc(), engine);
    auto* bytes = static_cast<char*>(weights.back().get_data_handle());
    std::fill_n(bytes, description.weights_desc().get_size(), '\1');
  }
  dnnl::memory in(x, engine), out(y, engine);
  std::fill_n(static_cast<char*>(in.get_data_handle()), x.get_size(), '\1');
  const double seconds = best_seconds([&] {
    for (auto& w : weights) {
      product.execute(stream, {{DNNL_ARG_SRC, in}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, out}});
    }
    stream.wait();
  });
  return seconds / static_cast<double>(copies);
}

// Times multiply(i), a product with the i-th of `copies` weights, and reports it.
void report(benchmark::State& state, const Types& types, std::int64_t copies,
            const std::function<void(std::size_t)>& multiply) {
  const std::int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  const double bare = bare_seconds(types, m, n, k);
  const double bandwidth = m <= kFewRows ? read_bandwidth() : 0;
  multiply(0);
  double best = 1e30;
  for (auto _ : state) {
    const double seconds = best_seconds([&] {
      for (std::int64_t i = 0; i < copies; ++i) multiply(size(i));
    });
    best = std::min(best, seconds / static_cast<double>(copies));
  }
  const double operations = 2.0 * static_cast<double>(m * n * k);
  const double bytes = static_cast<double>(n * k * types.w_size);
  state.counters["GOP/s"] = operations / best * 1e-9;
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["bare_GOP/s"] = operations / bare * 1e-9;
  state.counters["share_of_bare"] = bare / best;
  if (bandwidth > 0) state.counters["share_of_read"] = bytes / best / bandwidth;
}

std::int64_t copies_of(const Types& types, const benchmark::State& state) {
  if (state.range(0) > kFewRows) return 1;
  return kPoolBytes / (state.range(1) * state.range(2) * types.w_size);
}

void dense(benchmark::State& state, DenseType type) {
  const std::int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  const bool bf16 = type == DenseType::kBF16;
  const Types& types = bf16 ? kBF16Types : kF32Types;
  const Tensor weight = Tensor::zeros({n, k}, bf16 ? DType::kBF16 : DType::kF32);
  std::vector<DenseWeights> weights;
  for (std::int64_t i = 0; i < copies_of(types, state); ++i) {
    weights.push_back(DenseWeights::pack(weight, type));
  }
  const std::vector<float> x(size(m * k));
  const std::vector<std::uint16_t> x_bf16(size(m * k));
  std::vector<float> y(size(m * n));
  report(state, types, static_cast<std::int64_t>(weights.size()), [&](std::size_t i) {
    if (bf16) {
      matmul_bf16(x_bf16.data(), m, weights[i], nullptr, y.data(), n);
    } else {
      matmul_f32(x.data(), m, weights[i], nullptr, y.data(), n);
    }
  });
}

void matmul_f32_bench(benchmark::State& state) {
  dense(state, DenseType::kF32);
}
void matmul_bf16_bench(benchmark::State& state) {
  dense(state, DenseType::kBF16);
}

void matmul_u8s8_bench(benchmark::State& state) {
  const std::int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  const std::vector<std::int8_t> weight(size(n * k), 1);
  std::vector<Int8Weights> weights;
  for (std::int64_t i = 0; i < copies_of(kU8S8Types, state); ++i) {
    weights.push_back(Int8Weights::pack(weight.data(), n, k));
  }
  const std::vector<std::uint8_t> x(size(m * k), 1);
  std::vector<std::int32_t> y(size(m * n));
  report(state, kU8S8Types, static_cast<std::int64_t>(weights.size()),
         [&](std::size_t i) { matmul_u8s8(x.data(), m, weights[i], y.data()); });
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t n : {2048, 5632}) {
    for (const std::int64_t m : {1, 4, 128, 512, 2048}) bench->Args({m, n, 2048});
  }
  bench->Iterations(3)->Unit(benchmark::kMillisecond)->ArgNames({"M", "N", "K"});
}

BENCHMARK(matmul_f32_bench)->Apply(shapes);
BENCHMARK(matmul_bf16_bench)->Apply(shapes);
BENCHMARK(matmul_u8s8_bench)->Apply(shapes);

}  // namespace
}  // namespace aquatint::kernels
