#include "quantize/observers/quantile_sketch.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace aquatint {

int QuantileSketch::bits_for(std::int64_t sketches) {
  int bits = kMaxBits;
  for (std::int64_t n = 16; n < sketches && bits > kMinBits; n *= 2) --bits;
  return bits;
}

void QuantileSketch::merge(const QuantileSketch& other) {
  AQUATINT_ASSERT(other.bits_ == bits_);
  smallest_ = std::min(smallest_, other.smallest_);
  largest_ = std::max(largest_, other.largest_);
  for (std::size_t p = 0; p < pages_.size(); ++p) {
    if (other.pages_[p].empty()) continue;
    if (pages_[p].empty()) {
      pages_[p] = other.pages_[p];
      continue;
    }
    for (std::size_t i = 0; i < pages_[p].size(); ++i) pages_[p][i] += other.pages_[p][i];
  }
}

std::int64_t QuantileSketch::count() const {
  std::uint64_t sum = 0;
  for (const auto& page : pages_) {
    for (const std::uint64_t n : page) sum += n;
  }
  return static_cast<std::int64_t>(sum);
}

// Spreads what fell into the bin of that rank evenly over it.
double QuantileSketch::order_statistic(std::uint64_t rank, std::uint64_t count) const {
  const auto value_of = [](std::uint64_t bits) {
    return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  };
  if (rank == 0) return value_of(smallest_);
  if (rank + 1 >= count) return value_of(largest_);
  std::uint64_t before = 0;
  for (std::size_t p = 0; p < pages_.size(); ++p) {
    for (std::size_t i = 0; i < pages_[p].size(); ++i) {
      const std::uint64_t here = pages_[p][i];
      if (rank >= before + here) {
        before += here;
        continue;
      }
      if (p == 0 && i == 0) return 0.0;  // a zero, not a part of the smallest number
      const std::uint64_t step = std::uint64_t{1} << (kMantissa - bits_);
      const std::uint64_t bits = (std::uint64_t{p} << kMantissa) + i * step;
      // The end of the last bin of all is no finite float.
      const double low = value_of(bits);
      const double width = 2.0 * (value_of(bits + step / 2) - low);
      const double part =
          (static_cast<double>(rank - before) + 0.5) / static_cast<double>(here) * width;
      return std::clamp(low + part, value_of(smallest_), value_of(largest_));
    }
  }
  return value_of(largest_);
}

float QuantileSketch::quantile(double share) const {
  const auto n = static_cast<std::uint64_t>(count());
  AQUATINT_ASSERT(n > 0);
  const double position = share * static_cast<double>(n - 1);
  const auto rank = static_cast<std::uint64_t>(position);
  const double low = order_statistic(rank, n);
  const double high = order_statistic(std::min(rank + 1, n - 1), n);
  return static_cast<float>(low + (position - std::floor(position)) * (high - low));
}

}  // namespace aquatint
