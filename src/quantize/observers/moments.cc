#include "quantize/observers/moments.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "quantize/observers/observer_base.h"

namespace aquatint {
namespace {

constexpr std::int64_t kBlock = 512;  // columns whose sums stay in the first-level cache
constexpr std::int64_t kGrain = 64;

class Moments final : public ObserverBase {
 public:
  explicit Moments(const ColumnGroups& groups) : ObserverBase(groups) {}
  std::vector<Range> ranges() const override { return {}; }

  NamedTensors tensors() const override {
    std::vector<double> counts(group_count()), means(group_count()), seconds(group_count());
    for (std::int64_t c = 0; c < columns(); ++c) {
      const auto g = static_cast<std::size_t>(groups().group(c));
      counts[g] += static_cast<double>(rows());
      means[g] += sums_[static_cast<std::size_t>(c)];
      seconds[g] += squares_[static_cast<std::size_t>(c)];
    }
    return {{"mean", divided(means, counts)}, {"second_moment", divided(seconds, counts)}};
  }

 private:
  static Tensor divided(const std::vector<double>& sums, const std::vector<double>& counts) {
    std::vector<float> values;
    for (std::size_t g = 0; g < sums.size(); ++g) {
      values.push_back(static_cast<float>(sums[g] / counts[g]));
    }
    return tensor_of(values);
  }

  void start() override {
    sums_.resize(static_cast<std::size_t>(columns()));
    squares_.resize(sums_.size());
  }

  void add(const float* values, std::int64_t rows) override {
    parallel_for(columns(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t c = begin; c < end; c += kBlock) {
        add_block(values, rows, c, std::min(end, c + kBlock));
      }
    });
    // A square of a finite float32 is finite in float64, and so is any sum of them.
    for (std::size_t c = 0; c < squares_.size(); ++c) {
      if (!std::isfinite(squares_[c])) raise_not_finite(values, rows, columns());
    }
  }

  void add_block(const float* values, std::int64_t rows, std::int64_t begin, std::int64_t end) {
    double* sums = sums_.data() + begin;
    double* squares = squares_.data() + begin;
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* x = values + r * columns() + begin;
      for (std::int64_t c = 0; c < end - begin; ++c) {
        const double value = x[c];
        sums[c] += value;
        squares[c] += value * value;
      }
    }
  }

  void absorb(const ObserverBase& later) override {
    const auto& other = static_cast<const Moments&>(later);
    for (std::size_t c = 0; c < sums_.size(); ++c) {
      sums_[c] += other.sums_[c];
      squares_[c] += other.squares_[c];
    }
  }

  std::vector<double> sums_, squares_;  // [columns]
};

}  // namespace

std::unique_ptr<Observer> make_moments(const ObserverOptions&, const ColumnGroups& groups) {
  return std::make_unique<Moments>(groups);
}

}  // namespace aquatint
