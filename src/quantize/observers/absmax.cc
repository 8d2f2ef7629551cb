#include "quantize/observers/absmax.h"

#include <algorithm>

#include "quantize/observers/column_extremes.h"
#include "quantize/observers/observer_base.h"

namespace aquatint {
namespace {

class Absmax final : public ObserverBase {
 public:
  explicit Absmax(const ColumnGroups& groups) : ObserverBase(groups) {}

  std::vector<Range> ranges() const override {
    std::vector<Range> ranges = extremes_.ranges(groups());
    for (Range& range : ranges) {
      const float largest = std::max(-range.min, range.max);
      range = {0.0f - largest, largest};
    }
    return ranges;
  }

  NamedTensors tensors() const override { return {{"absmax", range_tensors(ranges())[1].second}}; }

 private:
  void start() override { extremes_ = ColumnExtremes(columns()); }
  void add(const float* values, std::int64_t rows) override { extremes_.add(values, rows); }
  void absorb(const ObserverBase& later) override {
    extremes_.absorb(static_cast<const Absmax&>(later).extremes_);
  }

  ColumnExtremes extremes_;
};

}  // namespace

std::unique_ptr<Observer> make_absmax(const ObserverOptions&, const ColumnGroups& groups) {
  return std::make_unique<Absmax>(groups);
}

}  // namespace aquatint
