#include "eval/log_softmax.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace aquatint {
namespace {

// Values handled together, and so the number of partial sums: fixed, so that nothing depends on how
// the compiler orders what is added.
constexpr std::int64_t kLanes = 16;
using Lanes = std::array<double, kLanes>;

// Vectors of the baseline instruction set; compilers do not vectorize the clamp below by
// themselves.
using Float4 = float __attribute__((vector_size(16)));
using Bits4 = std::uint32_t __attribute__((vector_size(16)));

// exp(x) for x <= 0 to 2 units in the last place: 2^k times the Taylor series on |r| <= ln(2)/2.
// Zero below -88, NaN for NaN.
inline Float4 exp_nonpositive(Float4 x) {
  constexpr float kLeast = -88.0F;  // there k is -127 and 2^k comes out as zero
  constexpr float kRound =
      12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest integer at the end
  const auto below = std::bit_cast<Bits4>(x < kLeast);
  const Float4 least = Float4{} + kLeast;
  x = std::bit_cast<Float4>((std::bit_cast<Bits4>(x) & ~below) |
                            (std::bit_cast<Bits4>(least) & below));
  const Float4 shifted = x * 1.44269504F + kRound;
  const Float4 k = shifted - kRound;
  const Float4 r = (x - k * 0.693359375F) + k * 2.12194440e-4F;
  Float4 p = r * (1.0F / 5040) + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const Bits4 power = std::bit_cast<Bits4>(shifted) - std::bit_cast<std::uint32_t>(kRound) + 127U;
  return p * std::bit_cast<Float4>(power << 23U);
}

double total(const Lanes& lanes) {
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

// The largest value; any NaN may be passed over.
float maximum(const float* x, std::int64_t n) {
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, x[0]);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  return *std::max_element(lanes, lanes + kLanes);
}

// exp(x[j] - shift) of up to kLanes values; zeros behind them.
inline void exp_lanes(const float* x, std::int64_t count, float shift, float* out) {
  float tail[kLanes];
  if (count < kLanes) {
    std::fill_n(tail, kLanes, -std::numeric_limits<float>::infinity());
    x = std::copy_n(x, count, tail) - count;
  }
  for (std::int64_t j = 0; j < kLanes; j += 4) {
    Float4 values;
    std::memcpy(&values, x + j, sizeof values);
    values = exp_nonpositive(values - shift);
    std::memcpy(out + j, &values, sizeof values);
  }
}

// Σ exp(x - shift) and, given a second row, Σ exp(x - shift) (x - y).
struct ExpSums {
  double weight = 0;
  double difference = 0;
};

double exp_sum(const float* x, std::int64_t n, float shift) {
  Lanes sums{};
  float weights[kLanes];
  for (std::int64_t i = 0; i < n; i += kLanes) {
    exp_lanes(x + i, std::min(kLanes, n - i), shift, weights);
    for (std::size_t j = 0; j < kLanes; ++j) sums[j] += static_cast<double>(weights[j]);
  }
  return total(sums);
}

ExpSums exp_sums(const float* x, const float* y, std::int64_t n, float shift) {
  Lanes sums{};
  Lanes differences{};
  float weights[kLanes];
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t count = std::min(kLanes, n - i);
    exp_lanes(x + i, count, shift, weights);
    for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
      const double difference = static_cast<double>(x[i + static_cast<std::int64_t>(j)]) -
                                static_cast<double>(y[i + static_cast<std::int64_t>(j)]);
      sums[j] += static_cast<double>(weights[j]);
      differences[j] += static_cast<double>(weights[j]) * difference;
    }
  }
  return {total(sums), total(differences)};
}

}  // namespace

double log_sum_exp(const float* logits, std::int64_t n) {
  const float shift = maximum(logits, n);
  return static_cast<double>(shift) + std::log(exp_sum(logits, n, shift));
}

std::int64_t argmax(const float* logits, std::int64_t n) {
  const float largest = maximum(logits, n);
  for (std::int64_t i = 0; i < n; ++i) {
    if (logits[i] == largest) return i;
  }
  return 0;  // NaN
}

RowDivergence compare_rows(const float* reference, const float* model, std::int64_t n,
                           std::int32_t target) {
  const float shift = maximum(reference, n);
  const ExpSums sums = exp_sums(reference, model, n, shift);
  const double reference_log = static_cast<double>(shift) + std::log(sums.weight);
  const double model_log = log_sum_exp(model, n);
  RowDivergence row;
  row.kld = sums.difference / sums.weight - (reference_log - model_log);
  row.nll = model_log - static_cast<double>(model[target]);
  row.reference_nll = reference_log - static_cast<double>(reference[target]);
  row.same_top = argmax(reference, n) == argmax(model, n);
  return row;
}

}  // namespace aquatint
