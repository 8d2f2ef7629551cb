#include "kernels/gla/gla.h"

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

#include "base/error.h"
#include "base/threads.h"
#include "kernels/recurrence_testing.h"

namespace aquatint::kernels {
namespace {

using std::int64_t;
using testing::expect_close;
using testing::make_absolute;
using testing::sequences_of;
using Result = testing::RecurrenceResult;

std::size_t size_of(int64_t n) {
  return static_cast<std::size_t>(n);
}

// Random operands of one call over `rows` rows, and the states of its sequences.
struct Problem {
  GlaShape shape;
  int64_t rows;
  std::vector<float> q, k, v, g, state;
};

enum class Gates { kTypical, kStrong, kWild, kClosed, kMixed };

float gate(Gates kind, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  std::normal_distribution<float> normal;
  switch (kind) {
    case Gates::kTypical:
      return -std::log1p(std::exp(-normal(random))) / 16.0F;
    case Gates::kStrong:
      return -3.0F * uniform(random);
    case Gates::kWild:
      return -200.0F * uniform(random);
    case Gates::kClosed:
      return -std::numeric_limits<float>::infinity();
    case Gates::kMixed:
      break;
  }
  const float pick = uniform(random);
  if (pick < 0.1F) return -std::numeric_limits<float>::infinity();
  if (pick < 0.2F) return 0.0F;
  if (pick < 0.3F) return -std::numeric_limits<float>::max();
  return pick < 0.6F ? -200.0F * uniform(random) : -0.1F * uniform(random);
}

Problem make_problem(const GlaShape& shape, int64_t rows, int64_t states, Gates gates) {
  std::mt19937 random(static_cast<unsigned>(shape.dk * 31 + shape.dv * 7 + rows));
  std::normal_distribution<float> normal;
  const auto fill = [&](int64_t n) {
    std::vector<float> x(size_of(n));
    for (float& value : x) value = normal(random);
    return x;
  };
  Problem problem{shape,
                  rows,
                  fill(rows * shape.heads * shape.dk),
                  fill(rows * shape.kv_heads * shape.dk),
                  fill(rows * shape.kv_heads * shape.dv),
                  std::vector<float>(size_of(rows * shape.kv_heads * shape.dk)),
                  fill(states * shape.kv_heads * shape.dk * shape.dv)};
  for (float& value : problem.g) value = gate(gates, random);
  return problem;
}

GlaShape shape_of(int64_t heads, int64_t kv_heads, int64_t dk, int64_t dv) {
  return {heads, kv_heads, dk, dv, 1.0F / std::sqrt(static_cast<float>(dk))};
}

using Form = std::function<void(const GlaShape&, const GlaSequence*, int64_t, const float*,
                                const float*, const float*, const float*, float*)>;

Form recurrent_on(Isa isa) {
  return [isa](const GlaShape& shape, const GlaSequence* s, int64_t n, const float* q,
               const float* k, const float* v, const float* g,
               float* o) { gla_recurrent(shape, s, n, q, k, v, g, o, isa); };
}

Form chunked_on(Isa isa) {
  return [isa](const GlaShape& shape, const GlaSequence* s, int64_t n, const float* q,
               const float* k, const float* v, const float* g,
               float* o) { gla_chunked(shape, s, n, q, k, v, g, o, isa); };
}

const Form kForward = [](const GlaShape& shape, const GlaSequence* s, int64_t n, const float* q,
                         const float* k, const float* v, const float* g,
                         float* o) { gla_forward(shape, s, n, q, k, v, g, o); };

// Runs sequences of the given lengths one after the other in the rows of the problem.
Result run_lengths(const Form& run, const Problem& problem, const std::vector<int64_t>& lengths) {
  const GlaShape& shape = problem.shape;
  const int64_t state_size = shape.kv_heads * shape.dk * shape.dv;
  Result result{std::vector<float>(size_of(problem.rows * shape.heads * shape.dv), NAN),
                problem.state};
  const auto sequences = sequences_of<GlaSequence>(lengths, result.state.data(), state_size);
  run(shape, sequences.data(), static_cast<int64_t>(sequences.size()), problem.q.data(),
      problem.k.data(), problem.v.data(), problem.g.data(), result.y.data());
  return result;
}

// Runs one sequence in pieces that continue each other's state.
Result run_pieces(const Form& run, const Problem& problem, const std::vector<int64_t>& pieces) {
  const GlaShape& shape = problem.shape;
  Result result{std::vector<float>(size_of(problem.rows * shape.heads * shape.dv), NAN),
                problem.state};
  int64_t row = 0;
  for (const int64_t piece : pieces) {
    const GlaSequence sequence = {row, piece, result.state.data()};
    run(shape, &sequence, 1, problem.q.data(), problem.k.data(), problem.v.data(), problem.g.data(),
        result.y.data());
    row += piece;
  }
  return result;
}

// The same recurrence over absolute values: the sum of the magnitudes of all terms of each result.
// No float32 algorithm does better than a small multiple of its rounding, however much the terms
// cancel.
Result magnitudes(const Problem& problem, const std::vector<int64_t>& lengths) {
  Problem absolute = problem;
  make_absolute({&absolute.q, &absolute.k, &absolute.v, &absolute.state});
  return run_lengths(recurrent_on(Isa::kReference), absolute, lengths);
}

constexpr double kTolerance = 2e-6;

std::vector<Isa> simd_isas() {
  std::vector<Isa> isas = gla_isas();
  isas.erase(isas.begin());
  return isas;
}

std::string label(const Problem& problem, Isa isa, const char* form) {
  const GlaShape& s = problem.shape;
  return fmt::format("{} {} heads {}/{} dk {} dv {} rows {}", isa_name(isa), form, s.heads,
                     s.kv_heads, s.dk, s.dv, problem.rows);
}

void expect_all_forms_match(const Problem& problem, const std::vector<int64_t>& lengths) {
  const Result expected = run_lengths(recurrent_on(Isa::kReference), problem, lengths);
  const Result magnitude = magnitudes(problem, lengths);
  for (const Isa isa : simd_isas()) {
    const Result recurrent = run_lengths(recurrent_on(isa), problem, lengths);
    const Result chunked = run_lengths(chunked_on(isa), problem, lengths);
    expect_close(recurrent, expected, magnitude, kTolerance, label(problem, isa, "recurrent"));
    expect_close(chunked, expected, magnitude, kTolerance, label(problem, isa, "chunked"));
    expect_close(chunked, recurrent, magnitude, kTolerance,
                 label(problem, isa, "chunked/recurrent"));
  }
}

TEST(Gla, TwoTokensByHand) {
  // One head, dk = 2, dv = 1: S1 = [1*2, 3*2], o1 = 0.5*(2 + 6); then decay 1/2 and 0.
  const GlaShape shape = {1, 1, 2, 1, 0.5F};
  const std::vector<float> q = {1, 1, 2, 1};
  const std::vector<float> k = {1, 3, 1, -1};
  const std::vector<float> v = {2, 4};
  const std::vector<float> g = {0, 0, std::log(0.5F), -std::numeric_limits<float>::infinity()};
  for (const Isa isa : gla_isas()) {
    for (const Form& run : {recurrent_on(isa), chunked_on(isa)}) {
      std::vector<float> state = {0, 0};
      std::vector<float> o = {0, 0};
      const GlaSequence sequence = {0, 2, state.data()};
      run(shape, &sequence, 1, q.data(), k.data(), v.data(), g.data(), o.data());
      EXPECT_FLOAT_EQ(o[0], 4.0F) << isa_name(isa);
      EXPECT_FLOAT_EQ(state[0], 5.0F) << isa_name(isa);  // 2/2 + 1*4
      EXPECT_FLOAT_EQ(state[1], -4.0F) << isa_name(isa);
      EXPECT_FLOAT_EQ(o[1], 0.5F * (2 * 5 - 4)) << isa_name(isa);
    }
  }
}

TEST(Gla, EveryLengthMatchesTheReference) {
  for (const int64_t tokens :
       {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 47, 48, 49, 63, 64, 65, 97, 130, 257}) {
    expect_all_forms_match(make_problem(shape_of(2, 2, 24, 33), tokens, 1, Gates::kTypical),
                           {tokens});
  }
}

TEST(Gla, OddSizesMatchTheReference) {
  for (const int64_t dk : {1, 5, 20, 24, 48, 96, 256}) {
    for (const int64_t dv : {1, 15, 33, 48, 96, 512}) {
      expect_all_forms_match(make_problem(shape_of(2, 2, dk, dv), 83, 1, Gates::kTypical), {83});
    }
  }
}

TEST(Gla, GroupedQueriesMatchTheReference) {
  for (const int64_t kv_heads : {1, 2, 3, 6}) {
    expect_all_forms_match(make_problem(shape_of(6, kv_heads, 20, 40), 70, 1, Gates::kTypical),
                           {70});
  }
}

TEST(Gla, AnyGateGivesFiniteNumbersThatMatchTheReference) {
  for (const Gates gates : {Gates::kStrong, Gates::kWild, Gates::kClosed, Gates::kMixed}) {
    for (const int64_t tokens : {1, 16, 65, 257}) {
      expect_all_forms_match(make_problem(shape_of(2, 1, 24, 33), tokens, 1, gates), {tokens});
      expect_all_forms_match(make_problem(shape_of(1, 1, 64, 64), tokens, 1, gates), {tokens});
    }
  }
}

TEST(Gla, BatchOfUnequalSequencesMatchesTheReference) {
  const std::vector<int64_t> lengths = {1, 64, 0, 17, 130, 1, 3};
  expect_all_forms_match(make_problem(shape_of(4, 2, 24, 70), 216, 7, Gates::kTypical), lengths);
}

TEST(Gla, AnySplitContinuesTheSameSequence) {
  const Problem problem = make_problem(shape_of(2, 1, 48, 96), 257, 1, Gates::kTypical);
  const Result magnitude = magnitudes(problem, {257});
  for (const Isa isa : gla_isas()) {
    for (const Form& run : {recurrent_on(isa), chunked_on(isa)}) {
      const Result whole = run_pieces(run, problem, {257});
      expect_close(run_pieces(run, problem, {1, 256}), whole, magnitude, kTolerance,
                   label(problem, isa, "1+256"));
      expect_close(run_pieces(run, problem, {63, 65, 129}), whole, magnitude, kTolerance,
                   label(problem, isa, "63+65+129"));
      expect_close(run_pieces(run, problem, {200, 1, 1, 1, 54}), whole, magnitude, kTolerance,
                   label(problem, isa, "prefill and steps"));
    }
  }
}

TEST(Gla, ForwardMatchesBothForms) {
  const std::vector<int64_t> lengths = {1, 2, 7, 8, 40, 200};
  const Problem problem = make_problem(shape_of(3, 3, 32, 64), 258, 6, Gates::kTypical);
  const Result expected = run_lengths(recurrent_on(Isa::kReference), problem, lengths);
  expect_close(run_lengths(kForward, problem, lengths), expected, magnitudes(problem, lengths),
               kTolerance, "forward");
}

TEST(Gla, BytesDoNotDependOnTheNumberOfThreads) {
  const std::vector<int64_t> lengths = {150, 1, 90};
  const Problem problem = make_problem(shape_of(6, 3, 64, 200), 241, 3, Gates::kTypical);
  for (const Isa isa : gla_isas()) {
    for (const Form& run : {recurrent_on(isa), chunked_on(isa), kForward}) {
      set_num_threads(1);
      const Result one = run_lengths(run, problem, lengths);
      for (const int threads : {2, 3, 5, 8}) {
        set_num_threads(threads);
        const Result many = run_lengths(run, problem, lengths);
        EXPECT_EQ(one.y, many.y) << isa_name(isa) << ' ' << threads;
        EXPECT_EQ(one.state, many.state) << isa_name(isa) << ' ' << threads;
      }
      set_num_threads(0);
    }
  }
}

TEST(Gla, RowsOutsideTheSequencesAreNotTouched) {
  const Problem problem = make_problem(shape_of(2, 2, 16, 24), 40, 1, Gates::kTypical);
  for (const Isa isa : gla_isas()) {
    for (const Form& run : {recurrent_on(isa), chunked_on(isa)}) {
      std::vector<float> o(size_of(40 * 2 * 24), 7.0F);
      std::vector<float> state = problem.state;
      const GlaSequence sequence = {5, 30, state.data()};
      run(problem.shape, &sequence, 1, problem.q.data(), problem.k.data(), problem.v.data(),
          problem.g.data(), o.data());
      const auto edge = static_cast<std::ptrdiff_t>(5 * 48);
      EXPECT_TRUE(std::all_of(o.begin(), o.begin() + edge, [](float x) { return x == 7.0F; }));
      EXPECT_TRUE(std::all_of(o.end() - edge, o.end(), [](float x) { return x == 7.0F; }));
    }
  }
}

TEST(Gla, RejectsImpossibleShapes) {
  float x = 0;
  const auto call = [&](const GlaShape& shape, const GlaSequence& sequence) {
    gla_forward(shape, &sequence, 1, &x, &x, &x, &x, &x);
  };
  EXPECT_THROW(call({3, 2, 4, 4, 1.0F}, {0, 1, &x}), Error);
  EXPECT_THROW(call({2, 2, 0, 4, 1.0F}, {0, 1, &x}), Error);
  EXPECT_THROW(call({1, 1, 1, 1, 1.0F}, {0, -1, &x}), Error);
  EXPECT_THROW(call({1, 1, 1, 1, 1.0F}, {0, 1, nullptr}), Error);
  EXPECT_THROW(gla_log_decay(&x, 1, 0.0F, false, 0.0F), Error);
}

TEST(GlaLogDecay, MatchesTheExactFormToOnePartInAMillion) {
  std::vector<float> r;
  for (float x = -120.0F; x < 86.0F; x += 0.0137F) r.push_back(x);
  for (float x = 1e-30F; x < 1.0F; x *= 3.1F) {
    r.push_back(x);
    r.push_back(-x);
  }
  for (const float normalizer : {1.0F, 16.0F, 3.0F}) {
    for (const Isa isa : gla_isas()) {
      std::vector<float> decay = r;
      gla_log_decay(decay.data(), static_cast<int64_t>(decay.size()), normalizer, false, 0.0F, isa);
      double worst = 0;
      for (std::size_t i = 0; i < r.size(); ++i) {
        const double x = static_cast<double>(r[i]);
        const double exact = (std::min(x, 0.0) - std::log1p(std::exp(-std::fabs(x)))) /
                             static_cast<double>(normalizer);
        if (std::fabs(exact) < 1.2e-38) continue;
        worst =
            std::max(worst, std::fabs(static_cast<double>(decay[i]) - exact) / std::fabs(exact));
      }
      EXPECT_LT(worst, 1e-6) << isa_name(isa) << " normalizer " << normalizer;
    }
  }
}

TEST(GlaLogDecay, ClampsAndKeepsSpecialValues) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const Isa isa : gla_isas()) {
    for (int64_t n = 1; n < 40; ++n) {
      std::vector<float> r(size_of(n) + 1, -100.0F);
      gla_log_decay(r.data(), n, 16.0F, true, -1.5F, isa);
      EXPECT_EQ(r[0], -1.5F);
      EXPECT_EQ(r[size_of(n) - 1], -1.5F);
      EXPECT_EQ(r[size_of(n)], -100.0F) << "past the end";
    }
    std::vector<float> special = {-kInf, kInf, NAN};
    gla_log_decay(special.data(), 3, 16.0F, false, 0.0F, isa);
    EXPECT_EQ(special[0], -kInf) << isa_name(isa);
    EXPECT_EQ(special[1], 0.0F) << isa_name(isa);
    EXPECT_TRUE(std::isnan(special[2])) << isa_name(isa);
  }
}

}  // namespace
}  // namespace aquatint::kernels
