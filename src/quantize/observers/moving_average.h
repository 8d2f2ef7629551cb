// An exponential moving average over batches whose first value sets it, in a form in which two runs
// of batches can be joined: beside the average it keeps the first value and the number of batches.
#pragma once

#include <cmath>
#include <cstdint>

namespace aquatint {

class MovingAverage {
 public:
  // average += weight (value - average), in float64.
  void add(double value, double weight) {
    if (batches_ == 0) first_ = average_ = value;
    if (batches_ > 0) average_ += weight * (value - average_);
    ++batches_;
  }

  // As if the values of `later` had been added one by one, up to rounding. With d = 1 - weight and
  // n batches in `later`, its first value counts d^(n-1) there, where it set the average, but
  // weight d^(n-1) here; what is missing to 1 is the weight of the average so far, d^n.
  void absorb(const MovingAverage& later, double weight) {
    if (later.batches_ == 0) return;
    if (batches_ == 0) {
      *this = later;
      return;
    }
    const double decay = std::pow(1.0 - weight, static_cast<double>(later.batches_));
    average_ = later.average_ + decay * (average_ - later.first_);
    batches_ += later.batches_;
  }

  double value() const { return average_; }

 private:
  double first_ = 0.0, average_ = 0.0;
  std::int64_t batches_ = 0;
};

}  // namespace aquatint
