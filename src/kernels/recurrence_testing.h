// How tests compare forms of a recurrence: relative to the magnitude of the terms that each result
// sums, below which no float32 algorithm's rounding goes, however much the terms cancel.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

namespace aquatint::kernels::testing {

struct RecurrenceResult {
  std::vector<float> y, state;
};

// Sequences of the given lengths, one after the other in the rows of a call, with states one after
// the other from `states` on.
template <typename Sequence>
std::vector<Sequence> sequences_of(const std::vector<std::int64_t>& lengths, float* states,
                                   std::int64_t state_size) {
  std::vector<Sequence> sequences;
  std::int64_t row = 0;
  for (const std::int64_t length : lengths) {
    sequences.push_back({row, length, states});
    states += state_size;
    row += length;
  }
  return sequences;
}

// Operands of which a run of the reference gives the magnitudes.
inline void make_absolute(std::initializer_list<std::vector<float>*> operands) {
  for (auto* values : operands) {
    for (float& value : *values) value = std::fabs(value);
  }
}

// Largest difference relative to the magnitude of the terms; infinite for anything not finite.
inline double worst_error(const std::vector<float>& a, const std::vector<float>& b,
                          const std::vector<float>& magnitude) {
  double worst = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
      return std::numeric_limits<double>::infinity();
    }
    const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = std::max(worst, difference / (static_cast<double>(magnitude[i]) + 1e-30));
  }
  return worst;
}

inline void expect_close(const RecurrenceResult& actual, const RecurrenceResult& expected,
                         const RecurrenceResult& magnitude, double tolerance,
                         const std::string& what) {
  EXPECT_LT(worst_error(actual.y, expected.y, magnitude.y), tolerance) << what << ", outputs";
  EXPECT_LT(worst_error(actual.state, expected.state, magnitude.state), tolerance)
      << what << ", state";
}

}  // namespace aquatint::kernels::testing
