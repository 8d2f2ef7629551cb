#include "kernels/residual_add/residual_add.h"

#include <gtest/gtest.h>

#include <vector>

namespace aquatint::kernels {
namespace {

TEST(ResidualAdd, AddsEveryValueOnce) {
  for (const std::size_t n : {1u, 3u, 1000u, 40'001u}) {
    std::vector<float> hidden(n), delta(n);
    for (std::size_t i = 0; i < n; ++i) {
      hidden[i] = static_cast<float>(i);
      delta[i] = static_cast<float>(2 * i + 1);
    }
    residual_add(Stream::cpu(), hidden.data(), delta.data(), static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(hidden[i], static_cast<float>(3 * i + 1));
  }
}

}  // namespace
}  // namespace aquatint::kernels
