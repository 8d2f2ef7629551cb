#include "kernels/selective_scan/selective_scan.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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

enum class Steps { kTypical, kSmall, kHuge, kMixed };

// Random operands of one call over `rows` rows, with gaps between rows where there may be some.
struct Problem {
  int64_t channels, states, rows;
  bool gate = true;
  std::vector<float> x, dt, bc, z, rates, skip, state;

  int64_t ldx() const { return channels + 3; }
  int64_t ldbc() const { return 2 * states + 5; }
  int64_t ldz() const { return 2 * channels; }
  ScanInputs inputs() const {
    return {channels,
            states,
            x.data(),
            ldx(),
            dt.data(),
            bc.data() + 5,
            bc.data() + 5 + states,
            ldbc(),
            gate ? z.data() : nullptr,
            ldz(),
            rates.data(),
            skip.data()};
  }
};

Problem make_problem(int64_t channels, int64_t states, int64_t rows, int64_t sequences,
                     Steps steps = Steps::kTypical) {
  std::mt19937 random(static_cast<unsigned>(channels * 31 + states * 7 + rows));
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  const auto fill = [&](int64_t n) {
    std::vector<float> values(size_of(n));
    for (float& value : values) value = normal(random);
    return values;
  };
  Problem p{channels, states, rows, true, {}, {}, {}, {}, {}, {}, {}};
  p.x = fill(rows * p.ldx());
  p.bc = fill(rows * p.ldbc() + 5);
  p.z = fill(rows * p.ldz());
  p.skip = fill(channels);
  p.state = fill(sequences * states * channels);
  p.dt = fill(rows * channels);
  for (float& dt : p.dt) {
    const float pick = uniform(random);
    const bool huge = steps == Steps::kHuge || (steps == Steps::kMixed && pick < 0.3F);
    const bool small = steps == Steps::kSmall || (steps == Steps::kMixed && pick > 0.6F);
    dt = huge ? 300.0F * uniform(random) : small ? dt - 8.0F : dt - 2.0F;
  }
  p.rates = std::vector<float>(size_of(states * channels));
  for (float& rate : p.rates) rate = -1.442695F * std::exp(1.5F * normal(random));
  return p;
}

// Runs sequences of the given lengths one after the other in the rows of the problem.
Result run_lengths(Isa isa, const Problem& p, const std::vector<int64_t>& lengths) {
  Result result{std::vector<float>(size_of(p.rows * p.channels), NAN), p.state};
  const auto sequences =
      sequences_of<ScanSequence>(lengths, result.state.data(), p.states * p.channels);
  selective_scan(p.inputs(), sequences.data(), static_cast<int64_t>(sequences.size()),
                 result.y.data(), isa);
  return result;
}

// Runs one sequence in pieces that continue each other's state.
Result run_pieces(Isa isa, const Problem& p, const std::vector<int64_t>& pieces) {
  Result result{std::vector<float>(size_of(p.rows * p.channels), NAN), p.state};
  int64_t row = 0;
  for (const int64_t piece : pieces) {
    const ScanSequence sequence = {row, piece, result.state.data()};
    selective_scan(p.inputs(), &sequence, 1, result.y.data(), isa);
    row += piece;
  }
  return result;
}

// The same recurrence over absolute values: the magnitude of the terms that each result sums, below
// which no float32 algorithm's rounding goes.
Result magnitudes(Problem p, const std::vector<int64_t>& lengths) {
  make_absolute({&p.x, &p.bc, &p.state, &p.skip});
  Result result = run_lengths(Isa::kReference, p, lengths);
  for (float& y : result.y) y = std::fabs(y);
  return result;
}

constexpr double kTolerance = 1e-5;

void expect_all_match(const Problem& p, const std::vector<int64_t>& lengths) {
  const Result expected = run_lengths(Isa::kReference, p, lengths);
  const Result magnitude = magnitudes(p, lengths);
  for (const Isa isa : selective_scan_isas()) {
    expect_close(run_lengths(isa, p, lengths), expected, magnitude, kTolerance,
                 fmt::format("{} channels {} states {} rows {}", isa_name(isa), p.channels,
                             p.states, p.rows));
  }
}

TEST(SelectiveScan, TwoTokensByHand) {
  // One channel, one state, A = -ln 2: delta = softplus(0) = ln 2, so the decay is 2^-ln 2.
  const double delta = std::log(2.0), decay = std::pow(2.0, -delta);
  const std::vector<float> x = {2, 3}, dt = {0, 0}, bc = {5, 7, 0.5F, 2}, rates = {-1}, skip = {10};
  const std::vector<float> z = {0, 1};
  for (const Isa isa : selective_scan_isas()) {
    std::vector<float> state = {1}, y = {0, 0};
    const ScanSequence sequence = {0, 2, state.data()};
    const ScanInputs inputs = {1,         1,         x.data(),      1,
                               dt.data(), bc.data(), bc.data() + 1, 2,
                               z.data(),  1,         rates.data(),  skip.data()};
    selective_scan(inputs, &sequence, 1, y.data(), isa);
    const double first = decay * 1 + delta * 5 * 2, second = decay * first + delta * 0.5 * 3;
    EXPECT_EQ(y[0], 0.0F) << isa_name(isa);  // its gate is silu(0)
    EXPECT_NEAR(state[0], second, 1e-6 * second) << isa_name(isa);
    EXPECT_NEAR(y[1], (2 * second + 10 * 3) / (1 + std::exp(-1.0)), 1e-5) << isa_name(isa);
  }
}

TEST(SelectiveScan, EveryLengthMatchesTheRecurrence) {
  for (const int64_t tokens : {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1000}) {
    expect_all_match(make_problem(70, 16, tokens, 1), {tokens});
  }
}

TEST(SelectiveScan, OddSizesMatchTheRecurrence) {
  for (const int64_t channels : {1, 7, 16, 33, 64, 65, 200}) {
    for (const int64_t states : {1, 3, 8, 15, 16, 24, 37}) {
      expect_all_match(make_problem(channels, states, 41, 1), {41});
      expect_all_match(make_problem(channels, states, 1, 1), {1});
    }
  }
}

TEST(SelectiveScan, AnyStepSizeGivesFiniteNumbersThatMatch) {
  for (const Steps steps : {Steps::kSmall, Steps::kHuge, Steps::kMixed}) {
    for (const int64_t tokens : {1, 40, 257}) {
      expect_all_match(make_problem(40, 16, tokens, 1, steps), {tokens});
    }
  }
}

TEST(SelectiveScan, WithoutAGate) {
  for (const int64_t tokens : {1, 70}) {
    Problem p = make_problem(50, 16, tokens, 1);
    p.gate = false;
    expect_all_match(p, {tokens});
  }
}

TEST(SelectiveScan, SequencesOfOneCallAreIndependent) {
  expect_all_match(make_problem(100, 16, 216, 7), {1, 64, 0, 17, 130, 1, 3});
}

TEST(SelectiveScan, AnySplitContinuesTheSameSequence) {
  const Problem p = make_problem(80, 16, 100, 1);
  const Result magnitude = magnitudes(p, {100});
  for (const Isa isa : selective_scan_isas()) {
    const Result whole = run_pieces(isa, p, {100});
    for (int64_t first = 1; first < 100; ++first) {
      expect_close(run_pieces(isa, p, {first, 100 - first}), whole, magnitude, kTolerance,
                   fmt::format("{} {}+{}", isa_name(isa), first, 100 - first));
    }
    expect_close(run_pieces(isa, p, {40, 1, 1, 1, 2, 55}), whole, magnitude, kTolerance,
                 "prefill and steps");
  }
}

TEST(SelectiveScan, MayWriteOverDt) {
  const Problem p = make_problem(70, 16, 67, 1);
  for (const Isa isa : selective_scan_isas()) {
    for (const int64_t tokens : {1, 67}) {
      const Result apart = run_lengths(isa, p, {tokens});
      Problem own = p;
      std::vector<float> state = p.state;
      const ScanSequence sequence = {0, tokens, state.data()};
      selective_scan(own.inputs(), &sequence, 1, own.dt.data(), isa);
      EXPECT_TRUE(std::equal(own.dt.begin(), own.dt.begin() + tokens * 70, apart.y.begin()));
    }
  }
}

TEST(SelectiveScan, BytesDoNotDependOnTheNumberOfThreads) {
  const std::vector<int64_t> lengths = {150, 1, 90};
  const Problem p = make_problem(600, 16, 241, 3);
  for (const Isa isa : selective_scan_isas()) {
    set_num_threads(1);
    const Result one = run_lengths(isa, p, lengths);
    for (const int threads : {2, 3, 8}) {
      set_num_threads(threads);
      const Result many = run_lengths(isa, p, lengths);
      EXPECT_EQ(one.y, many.y) << isa_name(isa) << ' ' << threads;
      EXPECT_EQ(one.state, many.state) << isa_name(isa) << ' ' << threads;
    }
    set_num_threads(0);
  }
}

TEST(SelectiveScan, NanStaysInItsChannel) {
  Problem p = make_problem(40, 16, 20, 1);
  p.dt[size_of(5 * 40 + 7)] = NAN;
  for (const Isa isa : selective_scan_isas()) {
    const Result result = run_lengths(isa, p, {20});
    for (int64_t t = 0; t < 20; ++t) {
      for (int64_t channel = 0; channel < 40; ++channel) {
        EXPECT_EQ(std::isnan(result.y[size_of(t * 40 + channel)]), channel == 7 && t >= 5)
            << isa_name(isa) << " token " << t << " channel " << channel;
      }
    }
  }
}

TEST(SelectiveScan, RejectsImpossibleShapes) {
  float x = 0;
  const auto call = [&](int64_t channels, int64_t ldx, const ScanSequence& sequence) {
    const ScanInputs inputs = {channels, 1, &x, ldx, &x, &x, &x, 1, nullptr, 0, &x, &x};
    selective_scan(inputs, &sequence, 1, &x);
  };
  EXPECT_THROW(call(0, 1, {0, 1, &x}), Error);
  EXPECT_THROW(call(2, 1, {0, 1, &x}), Error);
  EXPECT_THROW(call(1, 1, {0, -1, &x}), Error);
  EXPECT_THROW(call(1, 1, {0, 1, nullptr}), Error);
}

}  // namespace
}  // namespace aquatint::kernels
