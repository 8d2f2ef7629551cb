// Quantiles of magnitudes without keeping them: counts of the float32 bit patterns of |x|, cut
// after k bits of the mantissa, so that bins are 2^-k apart relative to the values in them. Counts
// add up exactly whatever the order, so sketches of parts can be merged. Every order statistic it
// gives, and so every quantile, is off by at most relative_error() of the true one (for magnitudes
// below 2^-126, of 2^-126). The smallest and the largest magnitude are exact.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

namespace aquatint {

class QuantileSketch {
 public:
  static constexpr int kMaxBits = 12, kMinBits = 7;
  // The largest k that keeps `sketches` of them to some tens of MiB of ordinary data: 12 up to 16
  // sketches, and one less for each doubling, but 7 at least.
  static int bits_for(std::int64_t sketches);

  explicit QuantileSketch(int mantissa_bits = kMaxBits) : bits_(mantissa_bits) {}

  // REQUIRES: x is finite.
  void add(float x) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
    smallest_ = bits < smallest_ ? bits : smallest_;
    largest_ = bits > largest_ ? bits : largest_;
    std::vector<std::uint64_t>& page = pages_[bits >> kMantissa];
    if (page.empty()) page.resize(std::size_t{1} << bits_);
    ++page[(bits & ((1u << kMantissa) - 1u)) >> (kMantissa - bits_)];
  }
  // REQUIRES: as many bits.
  void merge(const QuantileSketch& other);
  QuantileSketch fresh() const { return QuantileSketch(bits_); }

  std::int64_t count() const;
  float absmax() const { return std::bit_cast<float>(largest_); }
  double relative_error() const { return 1.0 / static_cast<double>(std::uint64_t{1} << bits_); }
  // The quantile of the magnitudes for a share in [0, 1], linearly interpolated between the two
  // order statistics next to share * (count - 1), as torch.quantile does. REQUIRES: count() > 0.
  float quantile(double share) const;

 private:
  static constexpr int kMantissa = 23, kPages = 255;
  double order_statistic(std::uint64_t rank, std::uint64_t count) const;

  int bits_;
  std::array<std::vector<std::uint64_t>, kPages> pages_;  // by exponent; empty where nothing fell
  std::uint32_t smallest_ = std::numeric_limits<std::uint32_t>::max(), largest_ = 0;
};

}  // namespace aquatint
