// The CUDA kernels against the plain loops in double of reference.cc. Errors are measured against
// the sum of the magnitudes of an element's terms, as in gla_test.cc.
//
// The token-by-token form is float32 throughout and keeps the bound of the CPU's variants. In the
// chunked form a term of an output is a product of four numbers rounded to bfloat16 (scaled query,
// scaled key, score, value; or scaled query, state, and in the state scaled key and value), each to
// 2^-8 of itself, so 4 * 2^-8 = 2^-6; a term of the state is a product of two: 2^-7. To first
// order; an eighth more is left for products of errors and for float32. Errors of different terms
// are independent, about 2^-8 / 2 each, so relative to the norm far less than 1e-2 remains.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "kernels/cuda_testing.h"
#include "kernels/gla/gla.h"
#include "kernels/recurrence_testing.h"

namespace aquatint::kernels {
namespace {

using std::int64_t;
using testing::DeviceArray;
using testing::gpu_stream;
using testing::worst_error;

std::size_t size_of(int64_t n) {
  return static_cast<std::size_t>(n);
}

struct Problem {
  GlaShape shape;
  std::vector<int64_t> lengths;  // of sequences, one after the other in the rows
  int64_t rows;
  std::vector<float> q, k, v, g, state;

  int64_t state_size() const { return shape.kv_heads * shape.dk * shape.dv; }
};

enum class Gates { kTypical, kWild, kClosed, kOpen, kMixed };
constexpr Gates kAllGates[] = {Gates::kTypical, Gates::kWild, Gates::kClosed, Gates::kOpen,
                               Gates::kMixed};

float gate(Gates kind, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  std::normal_distribution<float> normal;
  switch (kind) {
    case Gates::kTypical:
      return -std::log1p(std::exp(-normal(random))) / 16.0F;
    case Gates::kWild:
      return -200.0F * uniform(random);
    case Gates::kClosed:
      return -std::numeric_limits<float>::infinity();
    case Gates::kOpen:
      return 0.0F;
    case Gates::kMixed:
      break;
  }
  const float pick = uniform(random);
  if (pick < 0.05F) return -std::numeric_limits<float>::infinity();
  if (pick < 0.2F) return 0.0F;
  if (pick < 0.25F) return -std::numeric_limits<float>::max();
  return pick < 0.4F ? -200.0F * uniform(random) : -0.1F * uniform(random);
}

Problem make_problem(const GlaShape& shape, const std::vector<int64_t>& lengths, Gates gates) {
  int64_t rows = 0;
  for (const int64_t length : lengths) rows += length;
  std::mt19937 random(static_cast<unsigned>(shape.dk * 31 + shape.dv * 7 + rows));
  std::normal_distribution<float> normal;
  const auto fill = [&](int64_t n) {
    std::vector<float> x(size_of(n));
    for (float& value : x) value = normal(random);
    return x;
  };
  Problem problem{
      shape,
      lengths,
      rows,
      fill(rows * shape.heads * shape.dk),
      fill(rows * shape.kv_heads * shape.dk),
      fill(rows * shape.kv_heads * shape.dv),
      std::vector<float>(size_of(rows * shape.kv_heads * shape.dk)),
      fill(static_cast<int64_t>(lengths.size()) * shape.kv_heads * shape.dk * shape.dv)};
  for (float& value : problem.g) value = gate(gates, random);
  return problem;
}

GlaShape shape_of(int64_t heads, int64_t kv_heads, int64_t dk, int64_t dv) {
  return {heads, kv_heads, dk, dv, 1.0F / std::sqrt(static_cast<float>(dk))};
}

struct Result {
  std::vector<float> o, state;
};

std::vector<GlaSequence> sequences_of(const Problem& problem, float* states) {
  return testing::sequences_of<GlaSequence>(problem.lengths, states, problem.state_size());
}

Result reference(const Problem& problem) {
  Result result{std::vector<float>(size_of(problem.rows * problem.shape.heads * problem.shape.dv)),
                problem.state};
  const auto sequences = sequences_of(problem, result.state.data());
  gla_recurrent(problem.shape, sequences.data(), static_cast<int64_t>(sequences.size()),
                problem.q.data(), problem.k.data(), problem.v.data(), problem.g.data(),
                result.o.data(), Isa::kReference);
  return result;
}

// The same over absolute values: the sum of the magnitudes of the terms of each result.
Result magnitudes(const Problem& problem) {
  Problem absolute = problem;
  testing::make_absolute({&absolute.q, &absolute.k, &absolute.v, &absolute.state});
  return reference(absolute);
}

using Form = std::function<void(const GlaShape&, const GlaSequence*, int64_t, const float*,
                                const float*, const float*, const float*, float*)>;

const Form kRecurrent = [](const GlaShape& shape, const GlaSequence* s, int64_t n, const float* q,
                           const float* k, const float* v, const float* g,
                           float* o) { gla_recurrent(gpu_stream(), shape, s, n, q, k, v, g, o); };
const Form kChunked = [](const GlaShape& shape, const GlaSequence* s, int64_t n, const float* q,
                         const float* k, const float* v, const float* g,
                         float* o) { gla_chunked(gpu_stream(), shape, s, n, q, k, v, g, o); };

Form forward_in(GlaArithmetic arithmetic) {
  return [arithmetic](const GlaShape& shape, const GlaSequence* s, int64_t n, const float* q,
                      const float* k, const float* v, const float* g, float* o) {
    gla_forward(gpu_stream(), arithmetic, shape, s, n, q, k, v, g, o);
  };
}

// Each sequence in pieces of at most `piece` tokens, which continue each other's state.
Result run(const Form& form, const Problem& problem,
           int64_t piece = std::numeric_limits<int64_t>::max()) {
  const DeviceArray q(problem.q), k(problem.k), v(problem.v), g(problem.g), states(problem.state);
  const auto o =
      DeviceArray<float>::poisoned(size_of(problem.rows * problem.shape.heads * problem.shape.dv));
  auto sequences = sequences_of(problem, states.data());
  std::vector<int64_t> left = problem.lengths;
  for (bool more = true; more;) {
    more = false;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].tokens = std::min(left[i], piece);
      left[i] -= sequences[i].tokens;
      more = more || left[i] > 0;
    }
    form(problem.shape, sequences.data(), static_cast<int64_t>(sequences.size()), q.data(),
         k.data(), v.data(), g.data(), o.data());
    for (GlaSequence& sequence : sequences) sequence.first_row += sequence.tokens;
  }
  return {o.host(), states.host()};
}

double relative_norm(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 1e-60;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double x = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    difference += x * x;
    norm += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return std::sqrt(difference / norm);
}

std::string label(const Problem& problem) {
  const GlaShape& s = problem.shape;
  return fmt::format("heads {}/{} dk {} dv {} rows {}", s.heads, s.kv_heads, s.dk, s.dv,
                     problem.rows);
}

constexpr double kFloat32 = 2e-6, kOutput = 1.125 / 64, kState = 1.125 / 128;

void expect_float32(const Result& actual, const Problem& problem) {
  const Result expected = reference(problem), magnitude = magnitudes(problem);
  EXPECT_LT(worst_error(actual.o, expected.o, magnitude.o), kFloat32) << label(problem);
  EXPECT_LT(worst_error(actual.state, expected.state, magnitude.state), kFloat32) << label(problem);
}

void expect_bfloat16(const Result& actual, const Problem& problem) {
  const Result expected = reference(problem), magnitude = magnitudes(problem);
  EXPECT_LT(worst_error(actual.o, expected.o, magnitude.o), kOutput) << label(problem);
  EXPECT_LT(worst_error(actual.state, expected.state, magnitude.state), kState) << label(problem);
  EXPECT_LT(relative_norm(actual.o, expected.o), 1e-2) << label(problem);
  EXPECT_LT(relative_norm(actual.state, expected.state), 1e-2) << label(problem);
}

constexpr float kClamp = -0.75F;

std::vector<std::uint16_t> rounded(const std::vector<float>& values) {
  std::vector<std::uint16_t> result;
  for (const float x : values) result.push_back(f32_to_bf16(x));
  return result;
}

class GlaCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  }
};

TEST_F(GlaCuda, RecurrentMatchesForEveryLength) {
  for (const int64_t tokens : {1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 200}) {
    const Problem odd = make_problem(shape_of(2, 2, 24, 33), {tokens}, Gates::kTypical);
    expect_float32(run(kRecurrent, odd), odd);
    const Problem even = make_problem(shape_of(2, 2, 48, 96), {tokens}, Gates::kTypical);
    expect_float32(run(kRecurrent, even), even);
  }
  const Problem large = make_problem(shape_of(2, 2, 256, 512), {1000}, Gates::kTypical);
  expect_float32(run(kRecurrent, large), large);
}

TEST_F(GlaCuda, RecurrentMatchesForEverySize) {
  for (const int64_t dk : {1, 5, 128, 130, 256, 300, 520}) {
    for (const int64_t dv : {1, 15, 16, 96, 512}) {
      for (const int64_t tokens : {1, 10}) {
        const Problem problem = make_problem(shape_of(2, 2, dk, dv), {tokens}, Gates::kTypical);
        expect_float32(run(kRecurrent, problem), problem);
      }
    }
  }
}

TEST_F(GlaCuda, RecurrentMatchesForGroupedQueries) {
  for (const int64_t group : {2, 5, 9}) {
    for (const int64_t tokens : {1, 19}) {
      for (const int64_t dk : {20, 600}) {
        const Problem problem =
            make_problem(shape_of(2 * group, 2, dk, 40), {tokens}, Gates::kTypical);
        expect_float32(run(kRecurrent, problem), problem);
      }
    }
  }
}

TEST_F(GlaCuda, RecurrentMatchesForAnyGate) {
  for (const Gates gates : kAllGates) {
    for (const int64_t tokens : {1, 16, 257}) {
      const Problem problem = make_problem(shape_of(2, 1, 24, 33), {tokens}, gates);
      expect_float32(run(kRecurrent, problem), problem);
    }
  }
}

TEST_F(GlaCuda, ChunkedMatchesForEveryLength) {
  for (const int64_t tokens : {1, 2, 15, 16, 17, 63, 64, 65, 200}) {
    const Problem problem = make_problem(shape_of(2, 2, 48, 96), {tokens}, Gates::kTypical);
    expect_bfloat16(run(kChunked, problem), problem);
  }
  const Problem large = make_problem(shape_of(2, 2, 256, 512), {1000}, Gates::kTypical);
  expect_bfloat16(run(kChunked, large), large);
}

TEST_F(GlaCuda, ChunkedMatchesForEverySize) {
  for (const int64_t dk : {1, 16, 65, 128, 200, 256}) {
    for (const int64_t dv : {1, 15, 32, 100, 512}) {
      const Problem problem = make_problem(shape_of(2, 2, dk, dv), {83}, Gates::kTypical);
      expect_bfloat16(run(kChunked, problem), problem);
    }
  }
}

// Enough blocks for tiles of 64 columns.
TEST_F(GlaCuda, ChunkedMatchesForLargeBatches) {
  for (const int64_t dk : {40, 100, 256}) {
    const std::vector<int64_t> lengths(20, 70);
    const Problem problem = make_problem(shape_of(4, 4, dk, 130), lengths, Gates::kTypical);
    expect_bfloat16(run(kChunked, problem), problem);
  }
}

TEST_F(GlaCuda, ChunkedMatchesForGroupedQueries) {
  for (const int64_t group : {2, 5}) {
    const Problem problem =
        make_problem(shape_of(2 * group, 2, 48, 40), {150, 64}, Gates::kTypical);
    expect_bfloat16(run(kChunked, problem), problem);
  }
}

TEST_F(GlaCuda, ChunkedMatchesForAnyGate) {
  for (const Gates gates : kAllGates) {
    for (const int64_t tokens : {16, 65, 257}) {
      const Problem small = make_problem(shape_of(2, 1, 24, 33), {tokens}, gates);
      expect_bfloat16(run(kChunked, small), small);
      const Problem wide = make_problem(shape_of(1, 1, 256, 64), {tokens}, gates);
      expect_bfloat16(run(kChunked, wide), wide);
    }
  }
}

// The chunked form on products, in float32 or bfloat16, and on gates.
Result run_products(const Problem& problem, const std::vector<float>& gates, bool clamp,
                    bool q_bf16, bool kv_bf16) {
  const DeviceArray q(problem.q), k(problem.k), v(problem.v), r(gates), states(problem.state);
  const DeviceArray q16(rounded(problem.q)), k16(rounded(problem.k)), v16(rounded(problem.v));
  const GlaShape& shape = problem.shape;
  const auto o = DeviceArray<float>::poisoned(size_of(problem.rows * shape.heads * shape.dv));
  GlaProducts products;
  products.q.ld = shape.heads * shape.dk;
  products.k.ld = shape.kv_heads * shape.dk;
  products.v.ld = shape.kv_heads * shape.dv;
  if (q_bf16) {
    products.q.bf16 = q16.data();
  } else {
    products.q.f32 = q.data();
  }
  if (kv_bf16) {
    products.k.bf16 = k16.data();
    products.v.bf16 = v16.data();
  } else {
    products.k.f32 = k.data();
    products.v.f32 = v.data();
  }
  products.r = r.data();
  products.normalizer = 16.0F;
  products.clamp = clamp;
  products.clamp_min = kClamp;
  const auto sequences = sequences_of(problem, states.data());
  const auto count = static_cast<int64_t>(sequences.size());
  EXPECT_TRUE(
      gla_takes_products(gpu_stream(), GlaArithmetic::kBFloat16, shape, sequences.data(), count));
  gla_forward(gpu_stream(), shape, sequences.data(), count, products, o.data());
  return {o.host(), states.host()};
}

TEST_F(GlaCuda, ProductsGiveWhatTheirValuesGive) {
  for (const GlaShape& shape : {shape_of(2, 2, 48, 96), shape_of(4, 2, 100, 40),
                                shape_of(3, 3, 256, 512), shape_of(2, 1, 128, 8)}) {
    for (const auto& lengths : {std::vector<int64_t>{64}, {100, 0, 257}, {65, 130}}) {
      for (const bool clamp : {true, false}) {
        Problem problem = make_problem(shape, lengths, Gates::kTypical);
        for (auto* values : {&problem.q, &problem.k, &problem.v}) {
          for (float& x : *values) x = bf16_to_f32(f32_to_bf16(x));
        }
        auto gates = testing::random_values(static_cast<int64_t>(problem.g.size()), 5, 3.0F);
        for (std::size_t i = 0; i < gates.size(); i += 17) {
          gates[i] *= i % 2 == 0 ? 60.0F : 1000.0F;
        }
        problem.g = gates;
        gla_log_decay(problem.g.data(), static_cast<int64_t>(problem.g.size()), 16.0F, clamp,
                      kClamp);
        for (const bool q_bf16 : {true, false}) {
          for (const bool kv_bf16 : {true, false}) {
            expect_bfloat16(run_products(problem, gates, clamp, q_bf16, kv_bf16), problem);
          }
        }
      }
    }
  }
}

TEST_F(GlaCuda, TakesProductsForLongSequencesOnly) {
  float state = 0;
  const GlaSequence sequences[] = {{0, 64, &state}, {64, 0, &state}, {64, 63, &state}};
  const auto takes = [&](GlaArithmetic arithmetic, int64_t dk, int64_t dv, int64_t count) {
    return gla_takes_products(gpu_stream(), arithmetic, shape_of(2, 2, dk, dv), sequences, count);
  };
  EXPECT_TRUE(takes(GlaArithmetic::kBFloat16, 256, 8, 2));
  EXPECT_FALSE(takes(GlaArithmetic::kBFloat16, 256, 8, 3));
  EXPECT_FALSE(takes(GlaArithmetic::kFloat32, 256, 8, 2));
  EXPECT_FALSE(takes(GlaArithmetic::kBFloat16, 257, 8, 2));
  EXPECT_FALSE(takes(GlaArithmetic::kBFloat16, 256, 12, 2));
  EXPECT_FALSE(gla_takes_products(Stream::cpu(), GlaArithmetic::kBFloat16, shape_of(2, 2, 64, 64),
                                  sequences, 2));
}

TEST_F(GlaCuda, BatchesOfUnequalSequencesMatch) {
  std::vector<int64_t> lengths = {1, 64, 0, 17, 130, 1, 3};
  const Problem few = make_problem(shape_of(4, 2, 24, 70), lengths, Gates::kTypical);
  expect_float32(run(kRecurrent, few), few);
  expect_float32(run(forward_in(GlaArithmetic::kFloat32), few), few);
  expect_bfloat16(run(kChunked, few), few);
  expect_bfloat16(run(forward_in(GlaArithmetic::kBFloat16), few), few);
  for (int i = 0; i < 150; ++i) lengths.push_back(i % 3);
  const Problem many = make_problem(shape_of(2, 2, 16, 32), lengths, Gates::kTypical);
  expect_float32(run(kRecurrent, many), many);
  expect_bfloat16(run(kChunked, many), many);
}

TEST_F(GlaCuda, AnySplitContinuesTheSameSequence) {
  const Problem problem = make_problem(shape_of(2, 1, 48, 96), {257, 100}, Gates::kTypical);
  for (const int64_t piece : {1, 63, 65, 200}) {
    expect_float32(run(kRecurrent, problem, piece), problem);
    expect_bfloat16(run(kChunked, problem, piece), problem);
    expect_bfloat16(run(forward_in(GlaArithmetic::kBFloat16), problem, piece), problem);
  }
}

// More chunks than one launch takes.
TEST_F(GlaCuda, LongSequencesMatch) {
  const Problem problem = make_problem(shape_of(1, 1, 16, 32), {100, 16500, 64}, Gates::kTypical);
  expect_bfloat16(run(kChunked, problem), problem);
}

TEST_F(GlaCuda, TheSameInputsGiveTheSameBytes) {
  const Problem problem = make_problem(shape_of(4, 4, 96, 200), {150, 1, 90}, Gates::kTypical);
  for (const Form& form : {kRecurrent, kChunked}) {
    const Result first = run(form, problem), second = run(form, problem);
    EXPECT_EQ(first.o, second.o);
    EXPECT_EQ(first.state, second.state);
  }
}

TEST_F(GlaCuda, RejectsImpossibleShapes) {
  float x = 0;
  const GlaSequence sequence = {0, 1, &x};
  const auto call = [&](const GlaShape& shape) {
    gla_chunked(gpu_stream(), shape, &sequence, 1, &x, &x, &x, &x, &x);
  };
  EXPECT_THROW(call({3, 2, 4, 4, 1.0F}), Error);
  EXPECT_THROW(call({1, 1, 257, 4, 1.0F}), Error);
  EXPECT_THROW(gla_log_decay(gpu_stream(), &x, 1, 0.0F, false, 0.0F), Error);
}

TEST_F(GlaCuda, LogDecayMatchesTheExactForm) {
  std::vector<float> r;
  for (float x = -120.0F; x < 86.0F; x += 0.0137F) r.push_back(x);
  for (float x = 1e-30F; x < 1.0F; x *= 3.1F) {
    r.push_back(x);
    r.push_back(-x);
  }
  for (const std::size_t drop : {0U, 1U, 2U, 3U}) {
    const std::vector<float> input(r.begin(), r.end() - static_cast<std::ptrdiff_t>(drop));
    const DeviceArray decay(input);
    gla_log_decay(gpu_stream(), decay.data(), static_cast<int64_t>(input.size()), 3.0F, false,
                  0.0F);
    const std::vector<float> result = decay.host();
    double worst = 0;
    for (std::size_t i = 0; i < input.size(); ++i) {
      const double x = static_cast<double>(input[i]);
      const double exact = (std::min(x, 0.0) - std::log1p(std::exp(-std::fabs(x)))) / 3.0;
      if (std::fabs(exact) < 1.2e-38) continue;
      worst = std::max(worst, std::fabs(static_cast<double>(result[i]) - exact) / std::fabs(exact));
    }
    EXPECT_LT(worst, 1e-6);
  }
}

TEST_F(GlaCuda, LogDecayClampsAndKeepsSpecialValues) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const int64_t n : {1, 4, 7, 300}) {
    const DeviceArray r(std::vector<float>(size_of(n) + 1, -100.0F));
    gla_log_decay(gpu_stream(), r.data(), n, 16.0F, true, -1.5F);
    const std::vector<float> result = r.host();
    EXPECT_TRUE(std::all_of(result.begin(), result.end() - 1, [](float x) { return x == -1.5F; }));
    EXPECT_EQ(result.back(), -100.0F) << "past the end";
  }
  const DeviceArray special(std::vector<float>{-kInf, kInf, NAN});
  gla_log_decay(gpu_stream(), special.data(), 3, 16.0F, false, 0.0F);
  const std::vector<float> result = special.host();
  EXPECT_EQ(result[0], -kInf);
  EXPECT_EQ(result[1], 0.0F);
  EXPECT_TRUE(std::isnan(result[2]));
}

}  // namespace
}  // namespace aquatint::kernels
