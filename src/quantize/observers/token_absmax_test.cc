#include "quantize/observers/token_absmax.h"

#include <algorithm>

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

TEST(TokenAbsmax, DescribesTheListOfMaxima) {
  const testing::Batch batch = testing::random_batch(501, 21, 8);
  const auto observer = testing::observed("token_absmax", batch);
  std::vector<float> list;
  double sum = 0.0;
  for (std::int64_t r = 0; r < batch.rows; ++r) {
    float largest = 0.0f;
    for (std::int64_t c = 0; c < 21; ++c) largest = std::max(largest, std::fabs(batch.at(r, c)));
    list.push_back(largest);
    sum += largest;
  }
  std::sort(list.begin(), list.end());
  EXPECT_EQ(testing::values_named(*observer, "max")[0], list.back());
  EXPECT_FLOAT_EQ(testing::values_named(*observer, "mean")[0], static_cast<float>(sum / 501));
  const auto levels = testing::values_named(*observer, "quantile_levels");
  const auto quantiles = testing::values_named(*observer, "quantiles");
  ASSERT_EQ(levels.size(), quantiles.size());
  EXPECT_NE(std::find(levels.begin(), levels.end(), 0.5f), levels.end());
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const double at = static_cast<double>(levels[i]) * 500.0;
    const auto low = static_cast<std::size_t>(at + 1e-5);
    const double exact =
        list[low] + (at - std::floor(at + 1e-5)) * (list[std::min<std::size_t>(low + 1, 500)] -
                                                    static_cast<double>(list[low]));
    EXPECT_NEAR(quantiles[i], exact, exact * 0x1.1p-12 + 1e-4 * exact) << levels[i];
  }
}

}  // namespace
}  // namespace aquatint
