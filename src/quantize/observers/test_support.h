// What the tests of observers share: batches of values, observing and merging in one line, and the
// checks that every observer must pass.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/threads.h"
#include "formats/test_support.h"
#include "quantize/observer.h"

namespace aquatint::testing {

struct Batch {
  std::int64_t rows = 0, columns = 0;
  std::vector<float> values;

  float at(std::int64_t r, std::int64_t c) const {
    return values[static_cast<std::size_t>(r * columns + c)];
  }
  Batch slice(std::int64_t begin, std::int64_t end) const {
    return {
        end - begin, columns, {values.begin() + begin * columns, values.begin() + end * columns}};
  }
};

// Normal values with a few that are a hundred times larger.
inline Batch random_batch(std::int64_t rows, std::int64_t columns, unsigned seed,
                          float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.1f, scale);
  Batch batch{rows, columns, std::vector<float>(static_cast<std::size_t>(rows * columns))};
  for (float& x : batch.values) x = normal(generator) * (generator() % 199 == 0 ? 100.0f : 1.0f);
  return batch;
}

// n values in (-scale, scale) + shift that Python makes too, for comparison with PyTorch.
inline Batch formula_batch(std::uint64_t b, std::int64_t n, double scale, double shift) {
  Batch batch{n, 1, {}};
  for (std::int64_t i = 0; i < n; ++i) {
    const auto u =
        static_cast<std::uint32_t>(static_cast<std::uint64_t>(i) * 2654435761u + b * 40503u);
    const double t = 2.0 * (u / 4294967296.0) - 1.0;
    batch.values.push_back(static_cast<float>(scale * t * t * t * t * t + shift));
  }
  return batch;
}
inline std::vector<Batch> formula_batches() {
  return {formula_batch(0, 4096, 1.0, 0.1), formula_batch(1, 2048, 3.0, 0.0),
          formula_batch(2, 4096, 2.0, -0.5)};
}

inline std::unique_ptr<Observer> observed(const ObserverOptions& options,
                                          const ColumnGroups& groups,
                                          const std::vector<Batch>& batches) {
  auto observer = make_observer(options, groups);
  for (const Batch& batch : batches) {
    observer->observe(batch.values.data(), batch.rows, batch.columns);
  }
  return observer;
}

inline std::unique_ptr<Observer> observed(const std::string& name, const Batch& batch,
                                          const ColumnGroups& groups = {}) {
  ObserverOptions options;
  options.name = name;
  return observed(options, groups, {batch});
}

inline Tensor tensor_named(const Observer& observer, const std::string& name) {
  for (const auto& [key, tensor] : observer.tensors()) {
    if (key == name) return tensor;
  }
  ADD_FAILURE() << "no tensor '" << name << "'";
  return {};
}

inline std::vector<float> values_named(const Observer& observer, const std::string& name) {
  const Tensor t = tensor_named(observer, name);
  return {t.data<float>(), t.data<float>() + t.numel()};
}

// All tensors and ranges agree to `tolerance`, relative to the largest value of each; 0 means the
// same bits.
inline void expect_same(const Observer& a, const Observer& b, double tolerance) {
  ASSERT_EQ(a.rows(), b.rows());
  const auto left = a.tensors(), right = b.tensors();
  ASSERT_EQ(left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    const Tensor &x = left[i].second, &y = right[i].second;
    ASSERT_EQ(left[i].first, right[i].first);
    ASSERT_EQ(x.shape(), y.shape());
    if (tolerance == 0.0) {
      EXPECT_EQ(std::memcmp(x.bytes(), y.bytes(), x.nbytes()), 0) << left[i].first;
      continue;
    }
    double largest = 0.0;
    for (std::int64_t k = 0; k < x.numel(); ++k) {
      largest = std::max(largest, std::fabs(static_cast<double>(x.data<float>()[k])));
    }
    for (std::int64_t k = 0; k < x.numel(); ++k) {
      ASSERT_NEAR(x.data<float>()[k], y.data<float>()[k], tolerance * largest) << left[i].first;
    }
  }
  const auto p = a.ranges(), q = b.ranges();
  ASSERT_EQ(p.size(), q.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    EXPECT_NEAR(p[i].min, q[i].min, tolerance * (std::fabs(p[i].min) + std::fabs(p[i].max)));
    EXPECT_NEAR(p[i].max, q[i].max, tolerance * (std::fabs(p[i].min) + std::fabs(p[i].max)));
  }
}

}  // namespace aquatint::testing
