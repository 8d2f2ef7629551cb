#include "kernels/scaled_add/scaled_add.h"

#include <gtest/gtest.h>

#include <vector>

namespace aquatint::kernels {
namespace {

TEST(ScaledAdd, TouchesEveryValueOnce) {
  for (const std::size_t n : {1u, 3u, 1000u, 40'001u}) {
    std::vector<float> y(n), x(n);
    for (std::size_t i = 0; i < n; ++i) {
      y[i] = static_cast<float>(i);
      x[i] = static_cast<float>(2 * i + 2);
    }
    scaled_add(Stream::cpu(), y.data(), x.data(), 0.5F, static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(y[i], static_cast<float>(2 * i + 1));
    scale(Stream::cpu(), y.data(), 4.0F, static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(y[i], static_cast<float>(8 * i + 4));
  }
}

}  // namespace
}  // namespace aquatint::kernels
