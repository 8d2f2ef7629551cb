#include "quantize/observers/min_max.h"

#include "quantize/observers/column_extremes.h"
#include "quantize/observers/observer_base.h"

namespace aquatint {
namespace {

class MinMax final : public ObserverBase {
 public:
  explicit MinMax(const ColumnGroups& groups) : ObserverBase(groups) {}
  std::vector<Range> ranges() const override { return extremes_.ranges(groups()); }
  NamedTensors tensors() const override { return range_tensors(ranges()); }

 private:
  void start() override { extremes_ = ColumnExtremes(columns()); }
  void add(const float* values, std::int64_t rows) override { extremes_.add(values, rows); }
  void absorb(const ObserverBase& later) override {
    extremes_.absorb(static_cast<const MinMax&>(later).extremes_);
  }

  ColumnExtremes extremes_;
};

}  // namespace

std::unique_ptr<Observer> make_min_max(const ObserverOptions&, const ColumnGroups& groups) {
  return std::make_unique<MinMax>(groups);
}

}  // namespace aquatint
