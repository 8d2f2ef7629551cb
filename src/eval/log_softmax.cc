#include "eval/log_softmax.h"

#include <array>
#include <bit>
#include <cmath>

namespace aquatint {
namespace {

// Parallel sums: as many as make the compiler use vectors without reordering what is added.
constexpr std::int64_t kLanes = 16;

// exp(x) for x <= 0 to 2 units in the last place, in operations that vectorize on any processor:
// 2^k times the Taylor series on |r| <= ln(2)/2. Zero below -87, NaN for NaN.
inline float exp_nonpositive(float x) {
  constexpr float kRound =
      12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = x * 1.44269504F + kRound;
  const float k = shifted - kRound;
  const float r = (x - k * 0.693359375F) + k * 2.12194440e-4F;
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const std::uint32_t bits =
      (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound) + 127U) << 23U;
  return x < -87.0F ? 0.0F : p * std::bit_cast<float>(bits);
}

double total(const std::array<double, kLanes>& lanes) {
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

float maximum(const float* logits, std::int64_t n) {
  std::array<float, kLanes> lanes;
  lanes.fill(logits[0]);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      auto& lane = lanes[static_cast<std::size_t>(j)];
      lane = logits[i + j] > lane ? logits[i + j] : lane;
    }
  }
  float largest = logits[0];
  for (; i < n; ++i) largest = logits[i] > largest ? logits[i] : largest;
  for (const float lane : lanes) largest = lane > largest ? lane : largest;
  return largest;
}

// Σ exp(x - shift) and, given a second row, Σ exp(x - shift) (x - y).
struct ExpSums {
  double weight = 0;
  double difference = 0;
};

double exp_sum(const float* x, std::int64_t n, float shift) {
  std::array<double, kLanes> lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      lanes[static_cast<std::size_t>(j)] += static_cast<double>(exp_nonpositive(x[i + j] - shift));
    }
  }
  for (; i < n; ++i) lanes[0] += static_cast<double>(exp_nonpositive(x[i] - shift));
  return total(lanes);
}

ExpSums exp_sums(const float* x, const float* y, std::int64_t n, float shift) {
  std::array<double, kLanes> weights{};
  std::array<double, kLanes> differences{};
  const auto add = [&](std::size_t lane, std::int64_t at) {
    const auto weight = static_cast<double>(exp_nonpositive(x[at] - shift));
    weights[lane] += weight;
    differences[lane] += weight * (static_cast<double>(x[at]) - static_cast<double>(y[at]));
  };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) add(static_cast<std::size_t>(j), i + j);
  }
  for (; i < n; ++i) add(0, i);
  return {total(weights), total(differences)};
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
