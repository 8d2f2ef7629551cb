// Quantize + product + scales against the ceilings of this machine, taken in turn in the same run:
// for one row the speed of reading memory (share_of_read, over all packed bytes), for many rows
// oneDNN's bare u8*s8 or bf16 product of the same shape (share_of_dnnl). Rates are those of the
// fastest repetition, so that other load on the machine disturbs them least. For one row the
// weights are taken in turn from copies that together do not fit in the cache.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "base/threads.h"
#include "kernels/quant_matmul/quant_matmul.h"
#include "kernels/quantize_rows/quantize_rows.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kPoolBytes = std::int64_t{256} << 20;
constexpr std::int64_t kFewRows = 32;
constexpr double kSecondsPerIteration = 0.2;

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

template <typename Body>
double seconds_of(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Reads memory with all threads, from pages of the size that packed weights get and with the same
// software prefetch, so that the ceiling lacks nothing the kernels have.
class MemoryReader {
 public:
  // The next `bytes` of the pool.
  void read(std::int64_t bytes) {
    at_ = at_ + bytes > kPoolBytes ? 0 : at_;
    const auto* data = reinterpret_cast<const std::uint64_t*>(pool().data<std::uint8_t>() + at_);
    parallel_for(bytes / 64, 1 << 8, [&](std::int64_t begin, std::int64_t end) {
      std::uint64_t sum[8] = {};
      for (const std::uint64_t* p = data + begin * 8; p < data + end * 8; p += 8) {
        __builtin_prefetch(p + 512);
        for (std::size_t j = 0; j < 8; ++j) sum[j] += p[j];
      }
      benchmark::DoNotOptimize(std::accumulate(sum, sum + 8, std::uint64_t{0}));
    });
    at_ += bytes;
  }

 private:
  static const Tensor& pool() {
    constexpr std::int64_t kColumns = 1 << 13;
    static const Tensor data =
        pack_weights({{8, true, Granularity::kRow, 0},
                      Tensor::zeros({kPoolBytes / kColumns, kColumns}, DType::kI8),
                      Tensor::zeros({kPoolBytes / kColumns, 1}, DType::kF32),
                      {}})
            .data;
    return data;
  }
  std::int64_t at_ = 0;
};

// The time that a tenth of the repetitions did not exceed: other load on the machine makes most of
// them longer, and none shorter.
double typical_best(std::vector<double>& seconds) {
  const auto tenth = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 10);
  std::nth_element(seconds.begin(), tenth, seconds.end());
  return *tenth;
}

// A bare product of oneDNN with weights in the layout it likes best.
class BareProduct {
 public:
  BareProduct(bool int8, std::int64_t m, std::int64_t n, std::int64_t k)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    using Type = dnnl::memory::data_type;
    using Tag = dnnl::memory::format_tag;
    const dnnl::memory::desc x({m, k}, int8 ? Type::u8 : Type::bf16, Tag::ab);
    const dnnl::memory::desc w({k, n}, int8 ? Type::s8 : Type::bf16, Tag::any);
    const dnnl::memory::desc y({m, n}, int8 ? Type::s32 : Type::f32, Tag::ab);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(engine_, x, w, y);
#else
    const dnnl::matmul::primitive_desc description({x, w, y}, engine_);
#endif
    product_ = dnnl::matmul(description);
    x_ = filled(x);
    w_ = filled(description.weights_desc());
    y_ = filled(y);
  }
  void run() {
    product_.execute(stream_, {{DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, w_}, {DNNL_ARG_DST, y_}});
    stream_.wait();
  }

 private:
  dnnl::memory filled(const dnnl::memory::desc& desc) {
    dnnl::memory memory(desc, engine_);
    std::fill_n(static_cast<char*>(memory.get_data_handle()), desc.get_size(), '\1');
    return memory;
  }
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul product_;
  dnnl::memory x_, w_, y_;
};

PackedWeights make_weights(std::int64_t n, std::int64_t k, int bits, std::int64_t group) {
  QuantizedMatrix m;
  m.scheme = {bits, true, group == 0 ? Granularity::kRow : Granularity::kGroup, group};
  m.values = Tensor::empty({n, k}, DType::kI8);
  const int range = 1 << bits;
  for (std::int64_t i = 0; i < n * k; ++i) {
    const auto u = static_cast<int>(static_cast<std::uint32_t>(i) * 2654435761u >> 24) % range;
    m.values.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(u - range / 2);
  }
  m.scales = Tensor::empty({n, m.groups()}, DType::kF32);
  std::fill_n(m.scales.mutable_data<float>(), m.scales.numel(), 0.01f);
  return pack_weights(m);
}

// One linear layer: float32 rows in, float32 rows out.
class Layer {
 public:
  Layer(const PackedWeights& w, std::int64_t m, bool int8) : m_(m), int8_(int8) {
    x_.resize(size(m * w.columns));
    for (std::size_t i = 0; i < x_.size(); ++i) x_[i] = static_cast<float>(i % 251) * 0.01f - 1.2f;
    const std::size_t padded = size(m * w.padded_columns());
    values8_.resize(padded);
    values16_.resize(padded);
    scales_.resize(size(m));
    sums8_.resize(size(m * w.groups));
    sums16_.resize(size(m * w.groups));
    y_.resize(size(m * w.outputs));
  }
  void run(const PackedWeights& w) {
    if (int8_) {
      quantize_rows_int8(x_.data(), m_, w.columns, w.group_size, w.groups, values8_.data(),
                         scales_.data(), sums8_.data());
      quant_matmul_a8({values8_.data(), scales_.data(), sums8_.data()}, m_, w, nullptr, y_.data(),
                      w.outputs);
    } else {
      round_rows_bf16(x_.data(), m_, w.columns, w.group_size, w.groups, values16_.data(),
                      sums16_.data());
      quant_matmul_a16({values16_.data(), sums16_.data()}, m_, w, nullptr, y_.data(), w.outputs);
    }
  }

 private:
  std::int64_t m_;
  bool int8_;
  std::vector<float> x_, y_, scales_, sums16_;
  std::vector<std::int8_t> values8_;
  std::vector<std::uint16_t> values16_;
  std::vector<std::int32_t> sums8_;
};

void few_rows(benchmark::State& state, Layer& layer, const PackedWeights& first) {
  std::vector<PackedWeights> weights(size(kPoolBytes) / first.nbytes() + 1);
  for (PackedWeights& w : weights) {
    w = make_weights(first.outputs, first.columns, first.bits,
                     first.groups == 1 ? 0 : first.group_size);
  }
  MemoryReader memory;
  const auto bytes = static_cast<std::int64_t>(first.nbytes()) / 64 * 64;
  std::vector<double> products;
  std::vector<double> reads;
  for (auto _ : state) {
    for (const PackedWeights& w : weights) {
      products.push_back(seconds_of([&] { layer.run(w); }));
      reads.push_back(seconds_of([&] { memory.read(bytes); }));
    }
    state.SetIterationTime(products.back());
  }
  const double rate = static_cast<double>(bytes) / typical_best(products) * 1e-9;
  const double read_rate = static_cast<double>(bytes) / typical_best(reads) * 1e-9;
  state.counters["GB/s"] = rate;
  state.counters["read_GB/s"] = read_rate;
  state.counters["share_of_read"] = rate / read_rate;
}

void many_rows(benchmark::State& state, Layer& layer, const PackedWeights& w, bool int8) {
  BareProduct bare(int8, state.range(0), w.outputs, w.columns);
  std::vector<double> products;
  std::vector<double> bares;
  for (auto _ : state) {
    for (double spent = 0; spent < kSecondsPerIteration;) {
      bares.push_back(seconds_of([&] { bare.run(); }));
      products.push_back(seconds_of([&] { layer.run(w); }));
      spent += bares.back() + products.back();
    }
    state.SetIterationTime(products.back());
  }
  const auto operations = static_cast<double>(2 * state.range(0) * w.outputs * w.columns);
  const double best = typical_best(products);
  const double best_bare = typical_best(bares);
  state.counters["GOP/s"] = operations / best * 1e-9;
  state.counters["dnnl_GOP/s"] = operations / best_bare * 1e-9;
  state.counters["share_of_dnnl"] = best_bare / best;
}

void linear(benchmark::State& state, int bits, std::int64_t group, bool int8) {
  const PackedWeights w = make_weights(state.range(1), state.range(2), bits, group);
  Layer layer(w, state.range(0), int8);
  layer.run(w);
  if (state.range(0) <= kFewRows) {
    few_rows(state, layer, w);
  } else {
    many_rows(state, layer, w, int8);
  }
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t m : {1, 128, 512, 2048}) {
    bench->Args({m, 2048, 2048})->Args({m, 5632, 2048})->Args({m, 2048, 5632});
    if (m <= 128) bench->Args({m, 32000, 2048});
  }
  bench->UseManualTime()->Iterations(5)->Unit(benchmark::kMillisecond)->ArgNames({"M", "N", "K"});
}

BENCHMARK_CAPTURE(linear, w8_row_a8, 8, 0, true)->Apply(shapes);
BENCHMARK_CAPTURE(linear, w8_row_a16, 8, 0, false)->Apply(shapes);
BENCHMARK_CAPTURE(linear, w4_g128_a8, 4, 128, true)->Apply(shapes);
BENCHMARK_CAPTURE(linear, w4_g128_a16, 4, 128, false)->Apply(shapes);
BENCHMARK_CAPTURE(linear, w4_g32_a8, 4, 32, true)->Apply(shapes);
BENCHMARK_CAPTURE(linear, w4_g32_a16, 4, 32, false)->Apply(shapes);

}  // namespace
}  // namespace aquatint::kernels
