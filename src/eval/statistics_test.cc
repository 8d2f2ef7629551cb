#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "eval/log_softmax.h"

namespace aquatint {
namespace {

std::vector<float> random_row(std::int64_t n, float scale, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> row(static_cast<std::size_t>(n));
  for (float& value : row) value = normal(generator);
  return row;
}

// The definition in extended precision.
long double exact_log_sum_exp(const std::vector<float>& row) {
  long double largest = row[0];
  for (const float x : row) largest = std::max<long double>(largest, x);
  long double sum = 0;
  for (const float x : row) sum += std::exp(static_cast<long double>(x) - largest);
  return largest + std::log(sum);
}

TEST(LogSoftmax, AgreesWithExtendedPrecision) {
  for (const std::int64_t n : {1, 2, 15, 16, 17, 31, 33, 1000, 4096, 50257}) {
    for (const float scale : {0.01F, 1.0F, 8.0F, 200.0F, 1e6F}) {
      const std::vector<float> row = random_row(n, scale, static_cast<unsigned>(n));
      const auto exact = static_cast<double>(exact_log_sum_exp(row));
      EXPECT_NEAR(log_sum_exp(row.data(), n), exact, 1e-7 + 1e-15 * std::abs(exact))
          << n << " logits of scale " << scale;
    }
  }
}

TEST(LogSoftmax, ShiftsDoNotMatterAndInfinitiesShow) {
  const std::vector<float> equal(4096, -1e4F);
  EXPECT_NEAR(log_sum_exp(equal.data(), 4096), -1e4 + std::log(4096.0), 1e-7);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{16}, std::size_t{39}}) {
      std::vector<float> row(40, 1.0F);
      row[at] = bad;
      EXPECT_FALSE(std::isfinite(log_sum_exp(row.data(), 40))) << at;
      const std::vector<float> good(40, 1.0F);
      EXPECT_FALSE(std::isfinite(compare_rows(good.data(), row.data(), 40, 0).kld)) << at;
      EXPECT_FALSE(std::isfinite(compare_rows(row.data(), good.data(), 40, 0).reference_nll));
    }
  }
  std::vector<float> row(40, 1.0F);
  row[3] = -std::numeric_limits<float>::infinity();
  EXPECT_NEAR(log_sum_exp(row.data(), 40), 1 + std::log(39.0), 1e-7);
}

TEST(LogSoftmax, DivergenceAgreesWithItsDefinition) {
  for (const std::int64_t n : {1, 7, 16, 100, 4099}) {
    const std::vector<float> reference = random_row(n, 3, 1);
    std::vector<float> model = random_row(n, 0.05F, 2);
    for (std::size_t i = 0; i < model.size(); ++i) model[i] += reference[i] + 5;
    const long double reference_log = exact_log_sum_exp(reference);
    const long double model_log = exact_log_sum_exp(model);
    long double kld = 0;
    for (std::size_t i = 0; i < model.size(); ++i) {
      const long double log_p = reference[i] - reference_log;
      kld += std::exp(log_p) * (log_p - (model[i] - model_log));
    }
    const auto target = static_cast<std::int32_t>(n / 2);
    const RowDivergence row = compare_rows(reference.data(), model.data(), n, target);
    EXPECT_NEAR(row.kld, static_cast<double>(kld), 1e-7);
    const auto at = static_cast<std::size_t>(target);
    EXPECT_NEAR(row.nll, static_cast<double>(model_log - model[at]), 1e-7);
    EXPECT_NEAR(row.reference_nll, static_cast<double>(reference_log - reference[at]), 1e-7);
  }
}

TEST(LogSoftmax, EqualRowsHaveNoDivergenceAndTiesGoToTheFirst) {
  const std::vector<float> row = random_row(1000, 5, 3);
  EXPECT_EQ(compare_rows(row.data(), row.data(), 1000, 5).kld, 0.0);
  EXPECT_TRUE(compare_rows(row.data(), row.data(), 1000, 5).same_top);
  const std::array<float, 4> a = {1, 3, 3, 0};
  const std::array<float, 4> b = {1, 2, 3, 0};
  EXPECT_EQ(argmax(a.data(), 4), 1);
  EXPECT_FALSE(compare_rows(a.data(), b.data(), 4, 0).same_top);
}

TEST(Statistics, MeanErrorAndPercentilesAsNumpy) {
  const std::array<double, 5> values = {1, 2, 4, 8, 16};
  const MeanAndError mean = mean_and_error(values);
  EXPECT_DOUBLE_EQ(mean.mean, 6.2);
  EXPECT_NEAR(mean.error, 2.7276363393971711, 1e-12);  // std(ddof=1) / sqrt(5)
  EXPECT_DOUBLE_EQ(sorted_percentile(values, 0.5), 4);
  EXPECT_DOUBLE_EQ(sorted_percentile(values, 0.9), 12.8);
  EXPECT_DOUBLE_EQ(sorted_percentile(values, 1), 16);
  EXPECT_EQ(mean_and_error({}).mean, 0);
  EXPECT_EQ(mean_and_error(std::span(values).first(1)).error, 0);
}

}  // namespace
}  // namespace aquatint
