#include "quantize/observers/moving_percentile.h"

#include <algorithm>
#include <cmath>

#include "quantize/observers/group_walk.h"
#include "quantize/observers/moving_average.h"
#include "quantize/observers/observer_base.h"

namespace aquatint {
namespace {

// The quantile, linearly interpolated as torch.quantile does; reorders the values.
double quantile(std::vector<float>& values, double share) {
  const double position = share * static_cast<double>(values.size() - 1);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(position);
  std::nth_element(values.begin(), at, values.end());
  const double low = *at;
  const double high = at + 1 == values.end() ? low : *std::min_element(at + 1, values.end());
  return low + (position - std::floor(position)) * (high - low);
}

class MovingPercentile final : public ObserverBase {
 public:
  MovingPercentile(double share, double weight, const ColumnGroups& groups)
      : ObserverBase(groups), share_(share), weight_(weight), averages_(group_count()) {}

  std::vector<Range> ranges() const override {
    std::vector<Range> ranges;
    for (const MovingAverage& average : averages_) {
      const auto q = static_cast<float>(average.value());
      ranges.push_back({0.0f - q, q});
    }
    return ranges;
  }

  NamedTensors tensors() const override {
    std::vector<float> values;
    for (const Range& range : ranges()) values.push_back(range.max);
    return {{"percentile", tensor_of(values)}};
  }

 private:
  void add(const float* values, std::int64_t rows) override {
    require_finite(values, rows, columns());
    parallel_for(groups().count, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> magnitudes;
      for (std::int64_t g = begin; g < end; ++g) {
        gather(values, rows, g, magnitudes);
        averages_[static_cast<std::size_t>(g)].add(quantile(magnitudes, share_), weight_);
      }
    });
  }

  void gather(const float* values, std::int64_t rows, std::int64_t group,
              std::vector<float>& out) const {
    const std::vector<std::int64_t> mine = columns_of_groups(groups(), columns(), group, group + 1);
    out.clear();
    out.reserve(static_cast<std::size_t>(rows) * mine.size());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (const std::int64_t c : mine) out.push_back(std::fabs(values[r * columns() + c]));
    }
  }

  void absorb(const ObserverBase& later) override {
    const auto& other = static_cast<const MovingPercentile&>(later);
    for (std::size_t g = 0; g < averages_.size(); ++g) {
      averages_[g].absorb(other.averages_[g], weight_);
    }
  }

  double share_, weight_;
  std::vector<MovingAverage> averages_;
};

}  // namespace

std::unique_ptr<Observer> make_moving_percentile(const ObserverOptions& options,
                                                 const ColumnGroups& groups) {
  return std::make_unique<MovingPercentile>(options.percentile, options.averaging, groups);
}

}  // namespace aquatint
