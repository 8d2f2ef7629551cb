#include "quantize/observers/moving_min_max.h"

#include "quantize/observers/column_extremes.h"
#include "quantize/observers/moving_average.h"
#include "quantize/observers/observer_base.h"

namespace aquatint {
namespace {

class MovingMinMax final : public ObserverBase {
 public:
  MovingMinMax(double weight, const ColumnGroups& groups)
      : ObserverBase(groups), weight_(weight), min_(group_count()), max_(group_count()) {}

  std::vector<Range> ranges() const override {
    std::vector<Range> ranges;
    for (std::size_t g = 0; g < min_.size(); ++g) {
      ranges.push_back({static_cast<float>(min_[g].value()), static_cast<float>(max_[g].value())});
    }
    return ranges;
  }

  NamedTensors tensors() const override { return range_tensors(ranges()); }

 private:
  void add(const float* values, std::int64_t rows) override {
    ColumnExtremes extremes(columns());
    extremes.add(values, rows);
    const std::vector<Range> batch = extremes.ranges(groups());
    for (std::size_t g = 0; g < batch.size(); ++g) {
      min_[g].add(batch[g].min, weight_);
      max_[g].add(batch[g].max, weight_);
    }
  }

  void absorb(const ObserverBase& later) override {
    const auto& other = static_cast<const MovingMinMax&>(later);
    for (std::size_t g = 0; g < min_.size(); ++g) {
      min_[g].absorb(other.min_[g], weight_);
      max_[g].absorb(other.max_[g], weight_);
    }
  }

  double weight_;
  std::vector<MovingAverage> min_, max_;
};

}  // namespace

std::unique_ptr<Observer> make_moving_min_max(const ObserverOptions& options,
                                              const ColumnGroups& groups) {
  return std::make_unique<MovingMinMax>(options.averaging, groups);
}

}  // namespace aquatint
