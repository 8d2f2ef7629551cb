#include "quantize/observers/histogram.h"

#include "quantize/observers/column_extremes.h"
#include "quantize/observers/group_walk.h"
#include "quantize/observers/linear_bins.h"
#include "quantize/observers/observer_base.h"

namespace aquatint {
namespace {

// Counts of one batch over a range that holds it.
class BatchCounts {
 public:
  BatchCounts(const Range& range, std::size_t bins)
      : range_(range),
        scale_(static_cast<double>(bins) / (static_cast<double>(range.max) - range.min)),
        counts_(bins) {
    if (range.min == range.max) scale_ = 0.0;
  }
  void add(float x) {
    const double at = (static_cast<double>(x) - range_.min) * scale_;
    const auto bin = static_cast<std::size_t>(static_cast<std::int64_t>(at));
    ++counts_[bin < counts_.size() ? bin : counts_.size() - 1];
  }
  void merge(const BatchCounts& other) {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  }
  BatchCounts fresh() const { return {range_, counts_.size()}; }

  LinearBins bins() const {
    LinearBins bins{range_, std::vector<double>(counts_.size())};
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      // A range of a single value has been counted in the first bin.
      const std::size_t to = scale_ == 0.0 ? bins.bin_of(range_.min) : i;
      bins.counts[to] += static_cast<double>(counts_[i]);
    }
    return bins;
  }

 private:
  Range range_;
  double scale_;
  std::vector<std::uint64_t> counts_;
};

class Histogram final : public ObserverBase {
 public:
  Histogram(const ObserverOptions& options, const ColumnGroups& groups)
      : ObserverBase(groups),
        bins_(static_cast<std::size_t>(options.bins)),
        symmetric_(options.symmetric) {}

  std::vector<Range> ranges() const override {
    std::vector<Range> ranges(histograms_.size());
    parallel_for(groups().count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto g = static_cast<std::size_t>(begin); g < static_cast<std::size_t>(end); ++g) {
        ranges[g] = clipped_range(histograms_[g], symmetric_);
      }
    });
    return ranges;
  }

  NamedTensors tensors() const override {
    std::vector<float> counts, edges;
    std::vector<Range> seen;
    for (const LinearBins& histogram : histograms_) {
      counts.insert(counts.end(), histogram.counts.begin(), histogram.counts.end());
      const std::vector<float> some = histogram.edges();
      edges.insert(edges.end(), some.begin(), some.end());
      seen.push_back(histogram.range);
    }
    NamedTensors tensors = range_tensors(seen);
    tensors.emplace_back("counts", tensor_of(counts, groups().count));
    tensors.emplace_back("edges", tensor_of(edges, groups().count));
    return tensors;
  }

 private:
  void add(const float* values, std::int64_t rows) override {
    ColumnExtremes extremes(columns());
    extremes.add(values, rows);
    std::vector<BatchCounts> batch;
    const std::vector<Range> ranges = extremes.ranges(groups());
    for (std::size_t g = 0; g < ranges.size(); ++g) {
      batch.emplace_back(histograms_.empty() ? ranges[g] : united(ranges[g], histograms_[g].range),
                         bins_);
    }
    accumulate_groups(values, rows, columns(), groups(), batch);
    const std::vector<LinearBins> before = std::move(histograms_);
    histograms_.clear();
    for (std::size_t g = 0; g < batch.size(); ++g) {
      histograms_.push_back(batch[g].bins());
      if (!before.empty()) histograms_[g].add(before[g]);
    }
  }

  void absorb(const ObserverBase& later) override {
    const auto& other = static_cast<const Histogram&>(later).histograms_;
    if (histograms_.empty()) {
      histograms_ = other;
      return;
    }
    for (std::size_t g = 0; g < other.size(); ++g) {
      LinearBins both{united(histograms_[g].range, other[g].range), std::vector<double>(bins_)};
      both.add(histograms_[g]);
      both.add(other[g]);
      histograms_[g] = std::move(both);
    }
  }

  std::size_t bins_;
  bool symmetric_;
  std::vector<LinearBins> histograms_;  // [groups]; empty before the first batch
};

}  // namespace

std::unique_ptr<Observer> make_histogram(const ObserverOptions& options,
                                         const ColumnGroups& groups) {
  return std::make_unique<Histogram>(options, groups);
}

}  // namespace aquatint
