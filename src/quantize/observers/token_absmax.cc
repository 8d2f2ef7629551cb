#include "quantize/observers/token_absmax.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>

#include "base/threads.h"
#include "quantize/observers/observer_base.h"
#include "quantize/observers/quantile_sketch.h"

namespace aquatint {
namespace {

constexpr double kLevels[] = {0.01, 0.1, 0.5, 0.9, 0.99, 0.999};

// Bit patterns of magnitudes are ordered as the magnitudes are, NaN last, and maxima of integers
// can be taken in any order, so the loop is many lanes wide.
float absmax_of(const float* x, std::int64_t n) {
  std::int32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto bits = static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
    largest = largest > bits ? largest : bits;
  }
  return std::bit_cast<float>(largest);
}

class TokenAbsmax final : public ObserverBase {
 public:
  explicit TokenAbsmax(const ColumnGroups& groups) : ObserverBase(groups) {}
  std::vector<Range> ranges() const override { return {}; }

  NamedTensors tensors() const override {
    std::vector<float> levels, quantiles;
    for (const double level : kLevels) {
      levels.push_back(static_cast<float>(level));
      quantiles.push_back(sketch_.quantile(level));
    }
    const auto mean = static_cast<float>(sum_ / static_cast<double>(rows()));
    return {{"max", tensor_of(std::vector{sketch_.absmax()})},
            {"mean", tensor_of(std::vector{mean})},
            {"quantiles", tensor_of(quantiles)},
            {"quantile_levels", tensor_of(levels)}};
  }

 private:
  void add(const float* values, std::int64_t rows) override {
    std::vector<float> absmax(static_cast<std::size_t>(rows));
    parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        absmax[static_cast<std::size_t>(r)] = absmax_of(values + r * columns(), columns());
      }
    });
    for (const float x : absmax) {
      if (!std::isfinite(x)) raise_not_finite(values, rows, columns());
      sketch_.add(x);
      sum_ += x;
    }
  }

  void absorb(const ObserverBase& later) override {
    const auto& other = static_cast<const TokenAbsmax&>(later);
    sketch_.merge(other.sketch_);
    sum_ += other.sum_;
  }

  QuantileSketch sketch_;
  double sum_ = 0.0;
};

}  // namespace

std::unique_ptr<Observer> make_token_absmax(const ObserverOptions&, const ColumnGroups& groups) {
  return std::make_unique<TokenAbsmax>(groups);
}

}  // namespace aquatint
