// An observer collects statistics of the values at one tap while a model runs over calibration
// data: a range that integers should span, or what a transform or a rounding asks for. The registry
// is the only list of them: recipes, help and documentation follow from its rows. Formulas, sources
// and errors are in docs/methods/observers.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quantize/column_groups.h"
#include "tensor/tensor.h"

namespace aquatint {

// The values that the integers of a scale are to represent. It need not contain zero.
struct Range {
  float min = 0.0f, max = 0.0f;
  bool operator==(const Range&) const = default;
};

// As a recipe asks for it. Each observer reads what its row of the registry names.
struct ObserverOptions {
  std::string name = "min_max";
  double percentile = 0.99999;  // share of the magnitudes that the range holds, in (0, 1]
  double averaging = 0.01;      // weight of a new batch in moving averages, in (0, 1]
  std::int64_t bins = 1024;     // of histograms, 2 to 65536
  // Whether the integers will be symmetric, where the choice of the range depends on it.
  bool symmetric = true;
  bool operator==(const ObserverOptions&) const = default;
};

class Observer {
 public:
  virtual ~Observer() = default;
  // One batch: values [rows, columns], row-major, valid during the call. The columns are the same
  // in every call. Error kNumeric when a value is NaN or infinite, with its row in the batch and
  // its column; the observer is of no use then.
  virtual void observe(const float* values, std::int64_t rows, std::int64_t columns) = 0;
  // Adds what `later`, an observer of the same kind, options and groups, saw after this one. The
  // result is that of observing both in order, but for the stated error of approximate observers.
  virtual void merge(const Observer& later) = 0;
  // Rows seen so far.
  virtual std::int64_t rows() const = 0;
  // One range for each group; empty for observers of something else than ranges. REQUIRES
  // rows() > 0.
  virtual std::vector<Range> ranges() const = 0;
  // Everything it has learned, by name: "absmax" [groups], "hessian" [columns, columns], …
  // REQUIRES rows() > 0.
  virtual std::vector<std::pair<std::string, Tensor>> tensors() const = 0;
};

struct ObserverEntry {
  const char* name;
  const char* description;
  std::vector<std::string> options;  // the members of ObserverOptions that it reads
  std::vector<std::string> tensors;  // the names of what tensors() gives
  bool makes_ranges;                 // so that a scale can be made of it
  bool takes_groups;                 // more than one
  bool per_batch;                    // what it learns depends on how the rows are cut into batches
  std::unique_ptr<Observer> (*make)(const ObserverOptions& options, const ColumnGroups& groups);
};

const std::vector<ObserverEntry>& observer_registry();
std::vector<std::string> range_observer_names();
// Error kInvalidArgument for an unknown name.
const ObserverEntry& find_observer(const std::string& name);
// Error kInvalidArgument for an unknown name, options outside what it takes, or groups it does not.
std::unique_ptr<Observer> make_observer(const ObserverOptions& options, const ColumnGroups& groups);

}  // namespace aquatint
