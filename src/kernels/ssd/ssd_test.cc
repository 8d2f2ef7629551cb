#include "kernels/ssd/ssd.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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
using testing::worst_error;
using Result = testing::RecurrenceResult;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::size_t size_of(int64_t n) {
  return static_cast<std::size_t>(n);
}

enum class Steps { kTypical, kSmall, kHuge, kMixed };

// Random operands of one call over `rows` rows, with gaps between rows, and states of its
// sequences.
struct Problem {
  SsdShape shape;
  int64_t rows = 0;
  bool skip_per_channel = false;
  float dt_low = 0.0F, dt_high = kInfinity;
  std::vector<float> xbc, dt, dt_bias, rates, skip, state;

  int64_t columns() const { return shape.heads * shape.head_dim; }
  int64_t state_size() const { return columns() * shape.states; }
  int64_t ld() const { return columns() + 2 * shape.groups * shape.states + 3; }
  int64_t ld_dt() const { return shape.heads + 2; }
  SsdInputs inputs() const {
    const float* x = xbc.data();
    return {x,
            x + columns(),
            x + columns() + shape.groups * shape.states,
            ld(),
            dt.data(),
            ld_dt(),
            dt_bias.data(),
            rates.data(),
            skip.data(),
            skip_per_channel,
            dt_low,
            dt_high};
  }
};

Problem make_problem(const SsdShape& shape, int64_t rows, int64_t sequences = 1,
                     Steps steps = Steps::kTypical) {
  std::mt19937 random(static_cast<unsigned>(shape.head_dim * 31 + shape.states * 7 + rows));
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  const auto fill = [&](int64_t n) {
    std::vector<float> values(size_of(n));
    for (float& value : values) value = normal(random);
    return values;
  };
  Problem p;
  p.shape = shape;
  p.rows = rows;
  p.xbc = fill(rows * p.ld());
  p.dt_bias = fill(shape.heads);
  p.skip = fill(p.columns());
  p.state = fill(sequences * p.state_size());
  p.dt = fill(rows * p.ld_dt());
  for (float& dt : p.dt) {
    const float pick = uniform(random);
    const bool huge = steps == Steps::kHuge || (steps == Steps::kMixed && pick < 0.3F);
    const bool small = steps == Steps::kSmall || (steps == Steps::kMixed && pick > 0.6F);
    dt = huge ? 300.0F * uniform(random) : small ? dt - 8.0F : dt - 2.0F;
  }
  p.rates = fill(shape.heads);
  for (float& rate : p.rates) rate = -1.442695F * std::exp(1.5F * rate);
  return p;
}

using Form =
    std::function<void(const SsdShape&, const SsdInputs&, const SsdSequence*, int64_t, float*)>;

Form recurrent_on(Isa isa) {
  return [isa](const SsdShape& shape, const SsdInputs& in, const SsdSequence* s, int64_t n,
               float* y) { ssd_recurrent(shape, in, s, n, y, isa); };
}

Form chunked_on(Isa isa) {
  return [isa](const SsdShape& shape, const SsdInputs& in, const SsdSequence* s, int64_t n,
               float* y) { ssd_chunked(SsdArithmetic::kFloat32, shape, in, s, n, y, isa); };
}

const Form kForward = [](const SsdShape& shape, const SsdInputs& in, const SsdSequence* s,
                         int64_t n,
                         float* y) { ssd_forward(SsdArithmetic::kFloat32, shape, in, s, n, y); };

// Runs sequences of the given lengths one after the other in the rows of the problem.
Result run_lengths(const Form& run, const Problem& p, const std::vector<int64_t>& lengths) {
  Result result{std::vector<float>(size_of(p.rows * p.columns()), NAN), p.state};
  const auto sequences = sequences_of<SsdSequence>(lengths, result.state.data(), p.state_size());
  run(p.shape, p.inputs(), sequences.data(), static_cast<int64_t>(sequences.size()),
      result.y.data());
  return result;
}

// Runs one sequence in pieces that continue each other's state.
Result run_pieces(const Form& run, const Problem& p, const std::vector<int64_t>& pieces) {
  Result result{std::vector<float>(size_of(p.rows * p.columns()), NAN), p.state};
  int64_t row = 0;
  for (const int64_t piece : pieces) {
    const SsdSequence sequence = {row, piece, result.state.data()};
    run(p.shape, p.inputs(), &sequence, 1, result.y.data());
    row += piece;
  }
  return result;
}

// The same recurrence over absolute values: the magnitude of the terms that each result sums, below
// which no float32 algorithm's rounding goes.
Result magnitudes(Problem p, const std::vector<int64_t>& lengths) {
  make_absolute({&p.xbc, &p.state, &p.skip});
  return run_lengths(recurrent_on(Isa::kReference), p, lengths);
}

constexpr double kTolerance = 1e-5;

std::string label(const Problem& p, Isa isa, const char* form) {
  return fmt::format("{} {} heads {}/{} of {}, {} states, {} rows", isa_name(isa), form,
                     p.shape.heads, p.shape.groups, p.shape.head_dim, p.shape.states, p.rows);
}

void expect_all_forms_match(const Problem& p, const std::vector<int64_t>& lengths) {
  const Result expected = run_lengths(recurrent_on(Isa::kReference), p, lengths);
  const Result magnitude = magnitudes(p, lengths);
  for (const Isa isa : ssd_isas()) {
    const Result recurrent = run_lengths(recurrent_on(isa), p, lengths);
    const Result chunked = run_lengths(chunked_on(isa), p, lengths);
    expect_close(recurrent, expected, magnitude, kTolerance, label(p, isa, "recurrent"));
    expect_close(chunked, expected, magnitude, kTolerance, label(p, isa, "chunked"));
    expect_close(chunked, recurrent, magnitude, kTolerance, label(p, isa, "chunked/recurrent"));
  }
}

TEST(Ssd, TwoTokensByHand) {
  // One head of one channel, one state, A = -ln 2: delta = softplus(0) = ln 2, at most 1/2 below.
  const double ln2 = std::log(2.0);
  const std::vector<float> xbc = {2, 5, 0.5F, 3, 7, 2}, dt = {1, -1}, rates = {-1}, skip = {10};
  const std::vector<float> bias = {-1};
  for (const Isa isa : ssd_isas()) {
    for (const Form& run : {recurrent_on(isa), chunked_on(isa)}) {
      std::vector<float> state = {1}, y = {0, 0};
      const SsdSequence sequence = {0, 2, state.data()};
      SsdInputs in = {xbc.data(),  xbc.data() + 1, xbc.data() + 2, 3,     dt.data(), 1,
                      bias.data(), rates.data(),   skip.data(),    false, 0.3F,      kInfinity};
      run({1, 1, 1, 1}, in, &sequence, 1, y.data());
      const double first = std::exp2(-ln2) * 1 + ln2 * 5 * 2;
      EXPECT_NEAR(y[0], 0.5 * first + 10 * 2, 1e-5) << isa_name(isa);
      // softplus(-2) = 0.127 is below the limit.
      const double second = std::exp2(-0.3) * first + 0.3 * 7 * 3;
      EXPECT_NEAR(state[0], second, 1e-5) << isa_name(isa);
      EXPECT_NEAR(y[1], 2 * second + 10 * 3, 1e-5) << isa_name(isa);
    }
  }
}

TEST(Ssd, EveryLengthMatchesTheRecurrence) {
  for (const int64_t tokens :
       {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1000}) {
    expect_all_forms_match(make_problem({3, 1, 24, 20}, tokens), {tokens});
  }
}

TEST(Ssd, OddSizesMatchTheRecurrence) {
  for (const int64_t dim : {1, 5, 16, 24, 33, 64, 70}) {
    for (const int64_t states : {1, 5, 16, 24, 128}) {
      expect_all_forms_match(make_problem({2, 2, dim, states}, 45), {45});
    }
  }
}

TEST(Ssd, HeadsOfAGroupShareBAndC) {
  for (const int64_t groups : {1, 2, 3, 6}) {
    expect_all_forms_match(make_problem({6, groups, 16, 20}, 70), {70});
  }
  // More heads than are done together, in groups that do not fill them.
  expect_all_forms_match(make_problem({40, 2, 8, 12}, 50), {50});
}

TEST(Ssd, SkipsOfChannelsAndLimitsOfStepSizes) {
  for (const int64_t dim : {16, 33}) {
    Problem p = make_problem({3, 1, dim, 20}, 70);
    p.skip_per_channel = true;
    expect_all_forms_match(p, {70});
    p.dt_low = 0.05F;
    p.dt_high = 0.2F;
    expect_all_forms_match(p, {70});
  }
}

TEST(Ssd, AnyStepSizeGivesFiniteNumbersThatMatch) {
  for (const Steps steps : {Steps::kSmall, Steps::kHuge, Steps::kMixed}) {
    for (const int64_t tokens : {1, 40, 257, 1000}) {
      expect_all_forms_match(make_problem({3, 1, 24, 20}, tokens, 1, steps), {tokens});
    }
  }
}

TEST(Ssd, SequencesOfOneCallAreIndependent) {
  const std::vector<int64_t> lengths = {1, 64, 0, 17, 130, 1, 3};
  const Problem p = make_problem({4, 2, 24, 20}, 216, 7);
  expect_all_forms_match(p, lengths);
  const Result expected = run_lengths(recurrent_on(Isa::kReference), p, lengths);
  expect_close(run_lengths(kForward, p, lengths), expected, magnitudes(p, lengths), kTolerance,
               "forward");
}

TEST(Ssd, AnySplitContinuesTheSameSequence) {
  const Problem p = make_problem({2, 1, 24, 20}, 100);
  const Result magnitude = magnitudes(p, {100});
  for (const Isa isa : ssd_isas()) {
    for (const Form& run : {recurrent_on(isa), chunked_on(isa)}) {
      const Result whole = run_pieces(run, p, {100});
      for (int64_t first = 1; first < 100; ++first) {
        expect_close(run_pieces(run, p, {first, 100 - first}), whole, magnitude, kTolerance,
                     label(p, isa, fmt::format("{}+{}", first, 100 - first).c_str()));
      }
    }
  }
  expect_close(run_pieces(kForward, p, {40, 1, 1, 1, 5, 52}), run_pieces(kForward, p, {100}),
               magnitude, kTolerance, "prefill and steps");
}

// Operands of the products with the state are rounded to 8 bits of mantissa: a product of two is
// off by at most 2^-8 of itself, and the state adds such products up.
TEST(Ssd, Bfloat16ProductsAreAsNearAsTheirOperands) {
  const Form chunked = [](const SsdShape& shape, const SsdInputs& in, const SsdSequence* s,
                          int64_t n,
                          float* y) { ssd_chunked(SsdArithmetic::kBFloat16, shape, in, s, n, y); };
  for (const auto& shape :
       {SsdShape{3, 1, 24, 20}, SsdShape{4, 2, 64, 128}, SsdShape{2, 2, 33, 7}}) {
    for (const int64_t tokens : {1, 2, 31, 32, 33, 63, 65, 257}) {
      for (const Steps steps : {Steps::kTypical, Steps::kMixed}) {
        const Problem p = make_problem(shape, tokens, 1, steps);
        const Result expected = run_lengths(recurrent_on(Isa::kReference), p, {tokens});
        const Result magnitude = magnitudes(p, {tokens});
        const Result actual = run_lengths(chunked, p, {tokens});
        const std::string what = label(p, active_isa(), "chunked in bfloat16");
        EXPECT_LT(worst_error(actual.y, expected.y, magnitude.y), 0x1p-7) << what;
        EXPECT_LT(worst_error(actual.state, expected.state, magnitude.state), 0x1p-7) << what;
      }
    }
  }
}

TEST(Ssd, BytesDoNotDependOnTheNumberOfThreads) {
  const std::vector<int64_t> lengths = {150, 1, 90};
  const Problem p = make_problem({22, 2, 32, 64}, 241, 3);
  for (const Isa isa : ssd_isas()) {
    for (const Form& run : {recurrent_on(isa), chunked_on(isa), kForward}) {
      set_num_threads(1);
      const Result one = run_lengths(run, p, lengths);
      for (const int threads : {2, 3, 8}) {
        set_num_threads(threads);
        const Result many = run_lengths(run, p, lengths);
        EXPECT_EQ(one.y, many.y) << isa_name(isa) << ' ' << threads;
        EXPECT_EQ(one.state, many.state) << isa_name(isa) << ' ' << threads;
      }
      set_num_threads(0);
    }
  }
}

TEST(Ssd, RejectsImpossibleShapes) {
  float x = 0;
  const auto call = [&](const SsdShape& shape, int64_t ld, float high,
                        const SsdSequence& sequence) {
    const SsdInputs in = {&x, &x, &x, ld, &x, shape.heads, &x, &x, &x, false, 0.0F, high};
    ssd_forward(SsdArithmetic::kFloat32, shape, in, &sequence, 1, &x);
  };
  EXPECT_THROW(call({3, 2, 1, 1}, 9, 1, {0, 1, &x}), Error);
  EXPECT_THROW(call({1, 1, 0, 1}, 9, 1, {0, 1, &x}), Error);
  EXPECT_THROW(call({1, 1, 2, 1}, 1, 1, {0, 1, &x}), Error);
  EXPECT_THROW(call({1, 1, 1, 1}, 1, -1, {0, 1, &x}), Error);
  EXPECT_THROW(call({1, 1, 1, 1}, 1, 1, {0, -1, &x}), Error);
  EXPECT_THROW(call({1, 1, 1, 1}, 1, 1, {0, 1, nullptr}), Error);
}

}  // namespace
}  // namespace aquatint::kernels
