#include "quantize/observers/percentile.h"

#include "quantize/observers/group_walk.h"
#include "quantize/observers/observer_base.h"
#include "quantize/observers/quantile_sketch.h"

namespace aquatint {
namespace {

class Percentile final : public ObserverBase {
 public:
  Percentile(double share, const ColumnGroups& groups)
      : ObserverBase(groups),
        share_(share),
        sketches_(group_count(), QuantileSketch(QuantileSketch::bits_for(groups.count))) {}

  std::vector<Range> ranges() const override {
    std::vector<Range> ranges;
    for (const QuantileSketch& sketch : sketches_) {
      const float q = sketch.quantile(share_);
      ranges.push_back({0.0f - q, q});
    }
    return ranges;
  }

  NamedTensors tensors() const override {
    std::vector<float> absmax;
    for (const QuantileSketch& sketch : sketches_) absmax.push_back(sketch.absmax());
    return {{"percentile", range_max(ranges())}, {"absmax", tensor_of(absmax)}};
  }

 private:
  static Tensor range_max(const std::vector<Range>& ranges) {
    std::vector<float> max;
    for (const Range& range : ranges) max.push_back(range.max);
    return tensor_of(max);
  }

  void add(const float* values, std::int64_t rows) override {
    require_finite(values, rows, columns());
    accumulate_groups(values, rows, columns(), groups(), sketches_);
  }

  void absorb(const ObserverBase& later) override {
    const auto& other = static_cast<const Percentile&>(later);
    for (std::size_t g = 0; g < sketches_.size(); ++g) sketches_[g].merge(other.sketches_[g]);
  }

  double share_;
  std::vector<QuantileSketch> sketches_;
};

}  // namespace

std::unique_ptr<Observer> make_percentile(const ObserverOptions& options,
                                          const ColumnGroups& groups) {
  return std::make_unique<Percentile>(options.percentile, groups);
}

}  // namespace aquatint
