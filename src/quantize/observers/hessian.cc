#include "quantize/observers/hessian.h"

#include <algorithm>

#include "base/threads.h"
#include "kernels/matmul/matmul.h"
#include "quantize/observers/observer_base.h"

namespace aquatint {
namespace {

constexpr std::int64_t kRows = 1024;  // multiplied at a time
constexpr std::int64_t kPanel = 512;  // columns of the result at a time
constexpr std::int64_t kTile = 32;    // of transpositions

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

class Hessian final : public ObserverBase {
 public:
  explicit Hessian(const ColumnGroups& groups) : ObserverBase(groups) {}
  std::vector<Range> ranges() const override { return {}; }

  NamedTensors tensors() const override {
    const Tensor whole = lower_.clone();
    add_products(whole);
    auto* h = whole.mutable_data<float>();
    const std::int64_t n = columns();
    parallel_for(n, kTile, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        for (std::int64_t j = i + 1; j < n; ++j) h[i * n + j] = h[j * n + i];
      }
    });
    return {{"hessian", whole}};
  }

 private:
  void start() override {
    lower_ = Tensor::zeros({columns(), columns()}, DType::kF32);
    waiting_ = Tensor::empty({columns(), kRows}, DType::kF32);
  }

  void add(const float* values, std::int64_t rows) override {
    require_finite(values, rows, columns());
    for (std::int64_t done = 0; done < rows;) {
      const std::int64_t count = std::min(rows - done, kRows - filled_);
      take(values + done * columns(), count);
      done += count;
      if (filled_ == kRows) flush();
    }
  }

  // Puts rows, transposed, behind those that wait.
  void take(const float* values, std::int64_t count) {
    auto* out = waiting_.mutable_data<float>() + filled_;
    parallel_for(columns(), kTile, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t c0 = begin; c0 < end; c0 += kTile) {
        for (std::int64_t r = 0; r < count; ++r) {
          for (std::int64_t c = c0; c < std::min(end, c0 + kTile); ++c) {
            out[c * kRows + r] = values[r * columns() + c];
          }
        }
      }
    });
    filled_ += count;
  }

  void flush() {
    add_products(lower_);
    filled_ = 0;
  }

  // Adds the products of the rows that wait to the panels at and below the diagonal.
  void add_products(const Tensor& sum) const {
    if (filled_ == 0) return;
    const std::int64_t n = columns();
    Tensor x = waiting_;
    if (filled_ < kRows) {
      x = Tensor::zeros({n, kRows}, DType::kF32);
      for (std::int64_t c = 0; c < n; ++c) {
        std::copy_n(waiting_.data<float>() + c * kRows, filled_,
                    x.mutable_data<float>() + c * kRows);
      }
    }
    std::vector<float> product(size(n * std::min(n, kPanel)));
    for (std::int64_t begin = 0; begin < n; begin += kPanel) {
      const std::int64_t width = std::min(kPanel, n - begin);
      const auto panel =
          kernels::DenseWeights::pack(x.rows(begin, begin + width), kernels::DenseType::kF32);
      kernels::matmul_f32(x.data<float>() + begin * kRows, n - begin, panel, nullptr,
                          product.data(), width);
      auto* h = sum.mutable_data<float>() + begin * n + begin;
      parallel_for(n - begin, kTile, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) {
          for (std::int64_t j = 0; j < width; ++j) h[i * n + j] += product[size(i * width + j)];
        }
      });
    }
  }

  void absorb(const ObserverBase& later) override {
    const auto& other = static_cast<const Hessian&>(later);
    flush();
    auto* h = lower_.mutable_data<float>();
    const auto* more = other.lower_.data<float>();
    parallel_for(lower_.numel(), 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) h[i] += more[i];
    });
    other.add_products(lower_);
  }

  Tensor lower_;    // [columns, columns]; above the diagonal only the panels on it are complete
  Tensor waiting_;  // [columns, kRows], rows that are not in lower_ yet, transposed
  std::int64_t filled_ = 0;
};

}  // namespace

std::unique_ptr<Observer> make_hessian(const ObserverOptions&, const ColumnGroups& groups) {
  return std::make_unique<Hessian>(groups);
}

}  // namespace aquatint
