// What all observers share: the number of rows and columns, the checks of a call and of a merge.
// An observer derives from it and keeps its own statistics.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quantize/observer.h"

namespace aquatint {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

class ObserverBase : public Observer {
 public:
  void observe(const float* values, std::int64_t rows, std::int64_t columns) final;
  void merge(const Observer& later) final;
  std::int64_t rows() const final { return rows_; }

 protected:
  explicit ObserverBase(ColumnGroups groups) : groups_(std::move(groups)) {}
  // Called once, when columns() has become known.
  virtual void start() {}
  // A batch of at least one row.
  virtual void add(const float* values, std::int64_t rows) = 0;
  // `later` is of the same class and has seen rows; so has this one, or it has just been started.
  virtual void absorb(const ObserverBase& later) = 0;

  const ColumnGroups& groups() const { return groups_; }
  std::size_t group_count() const { return static_cast<std::size_t>(groups_.count); }
  std::int64_t columns() const { return columns_; }

 private:
  void set_columns(std::int64_t columns);
  ColumnGroups groups_;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = -1;
};

// Float32 tensors [values] and [rows, values / rows].
Tensor tensor_of(std::span<const float> values);
Tensor tensor_of(std::span<const float> values, std::int64_t rows);

// Error kNumeric, with row and column of the first, where a value is NaN or infinite.
void require_finite(const float* values, std::int64_t rows, std::int64_t columns);
// The error of require_finite. REQUIRES that there is such a value.
[[noreturn]] void raise_not_finite(const float* values, std::int64_t rows, std::int64_t columns);

}  // namespace aquatint
