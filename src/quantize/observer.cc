#include "quantize/observer.h"

#include <algorithm>

#include "base/error.h"
#include "quantize/observers/absmax.h"
#include "quantize/observers/hessian.h"
#include "quantize/observers/histogram.h"
#include "quantize/observers/min_max.h"
#include "quantize/observers/moments.h"
#include "quantize/observers/moving_min_max.h"
#include "quantize/observers/moving_percentile.h"
#include "quantize/observers/percentile.h"
#include "quantize/observers/token_absmax.h"

namespace aquatint {
namespace {

bool reads(const ObserverEntry& entry, const char* option) {
  return std::find(entry.options.begin(), entry.options.end(), option) != entry.options.end();
}

void check_options(const ObserverEntry& entry, const ObserverOptions& options) {
  const auto check_share = [&](const char* name, double value) {
    if (reads(entry, name) && !(value > 0.0 && value <= 1.0)) {
      raise(ErrorKind::kInvalidArgument, "{}: {} is {}, but must be above 0 and at most 1",
            entry.name, name, value);
    }
  };
  check_share("percentile", options.percentile);
  check_share("averaging", options.averaging);
  if (reads(entry, "bins") && (options.bins < 2 || options.bins > 65536)) {
    raise(ErrorKind::kInvalidArgument, "{}: bins is {}, but must be from 2 to 65536", entry.name,
          options.bins);
  }
}

}  // namespace

const std::vector<ObserverEntry>& observer_registry() {
  constexpr bool kRanges = true, kGroups = true, kBatches = true;
  // clang-format off
  static const std::vector<ObserverEntry> entries = {
      {"min_max", "smallest and largest value",
       {}, {"min", "max"}, kRanges, kGroups, !kBatches, make_min_max},
      {"moving_min_max", "moving averages of each batch's smallest and largest value",
       {"averaging"}, {"min", "max"}, kRanges, kGroups, kBatches, make_moving_min_max},
      {"percentile", "quantile of all magnitudes",
       {"percentile"}, {"percentile", "absmax"}, kRanges, kGroups, !kBatches, make_percentile},
      {"moving_percentile", "moving average of each batch's quantile of magnitudes (Quamba)",
       {"percentile", "averaging"}, {"percentile"}, kRanges, kGroups, kBatches,
       make_moving_percentile},
      {"histogram", "range of a small squared error over a histogram (PyTorch)",
       {"bins", "symmetric"}, {"min", "max", "counts", "edges"}, kRanges, kGroups, kBatches,
       make_histogram},
      {"absmax", "largest magnitude",
       {}, {"absmax"}, kRanges, kGroups, !kBatches, make_absmax},
      {"moments", "mean and second moment",
       {}, {"mean", "second_moment"}, !kRanges, kGroups, !kBatches, make_moments},
      {"token_absmax", "largest magnitude of each token: maximum, mean and quantiles",
       {}, {"max", "mean", "quantiles", "quantile_levels"}, !kRanges, !kGroups, !kBatches,
       make_token_absmax},
      {"hessian", "sum of the outer products of the rows",
       {}, {"hessian"}, !kRanges, !kGroups, !kBatches, make_hessian},
  };
  // clang-format on
  return entries;
}

std::vector<std::string> range_observer_names() {
  std::vector<std::string> names;
  for (const ObserverEntry& entry : observer_registry()) {
    if (entry.makes_ranges) names.emplace_back(entry.name);
  }
  return names;
}

const ObserverEntry& find_observer(const std::string& name) {
  for (const ObserverEntry& entry : observer_registry()) {
    if (name == entry.name) return entry;
  }
  raise(ErrorKind::kInvalidArgument, "no observer is called '{}'", name);
}

std::unique_ptr<Observer> make_observer(const ObserverOptions& options,
                                        const ColumnGroups& groups) {
  const ObserverEntry& entry = find_observer(options.name);
  check_options(entry, options);
  groups.check();
  if (!entry.takes_groups && groups.count != 1) {
    raise(ErrorKind::kInvalidArgument, "{} observes all columns together, not {} groups",
          entry.name, groups.count);
  }
  return entry.make(options, groups);
}

}  // namespace aquatint
