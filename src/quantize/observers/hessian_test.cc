#include "quantize/observers/hessian.h"

#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

void expect_direct(const testing::Batch& batch, const Tensor& hessian) {
  const std::int64_t n = batch.columns;
  ASSERT_EQ(hessian.shape(), (Shape{n, n}));
  std::vector<double> exact(static_cast<std::size_t>(n * n)), size(exact.size());
  for (std::int64_t r = 0; r < batch.rows; ++r) {
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        const double product = static_cast<double>(batch.at(r, i)) * batch.at(r, j);
        exact[static_cast<std::size_t>(i * n + j)] += product;
        size[static_cast<std::size_t>(i * n + j)] += std::fabs(product);
      }
    }
  }
  for (std::size_t k = 0; k < exact.size(); ++k) {
    ASSERT_NEAR(hessian.data<float>()[k], exact[k], 1e-6 * size[k] + 1e-30) << k;
  }
}

TEST(Hessian, IsTheSumOfOuterProducts) {
  unsigned seed = 0;
  for (const auto& [rows, columns] :
       {std::pair{1, 1}, {3, 5}, {40, 33}, {1025, 17}, {2050, 64}, {20, 520}}) {
    const testing::Batch batch = testing::random_batch(rows, columns, ++seed);
    const auto observer = testing::observed("hessian", batch);
    expect_direct(batch, testing::tensor_named(*observer, "hessian"));
  }
}

TEST(Hessian, IsSymmetricToTheBit) {
  const testing::Batch batch = testing::random_batch(100, 600, 6);
  const auto observer = testing::observed("hessian", batch);
  const Tensor h = testing::tensor_named(*observer, "hessian");
  const Tensor t = h.transposed();
  EXPECT_EQ(std::memcmp(h.bytes(), t.bytes(), h.nbytes()), 0);
}

TEST(Hessian, CanBeReadBetweenBatches) {
  const testing::Batch batch = testing::random_batch(1500, 12, 7);
  auto observer = testing::observed("hessian", batch.slice(0, 700));
  expect_direct(batch.slice(0, 700), testing::tensor_named(*observer, "hessian"));
  observer->observe(batch.slice(700, 1500).values.data(), 800, 12);
  testing::expect_same(*observer, *testing::observed("hessian", batch), 0.0);
}

}  // namespace
}  // namespace aquatint
