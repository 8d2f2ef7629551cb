// The step that makes its log decays itself, from the two halves of a gate, against the
// token-by-token form with decays made in double.
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

#include "base/dtype.h"
#include "kernels/cuda_testing.h"
#include "kernels/gla/gla.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;
using testing::random_values;

struct Case {
  GlaShape shape;
  std::int64_t batch;
  bool biased;
  std::optional<float> clamp_min;
};

double rounded(float value) {
  return static_cast<double>(bf16_to_f32(f32_to_bf16(value)));
}

void expect_same_step(const Case& c) {
  const GlaShape& s = c.shape;
  const std::int64_t channels = s.kv_heads * s.dk, rank = GlaGate::kRank;
  const auto low = random_values(c.batch * rank, 1), bias = random_values(channels, 2);
  std::vector<std::uint16_t> w;
  for (const float value : random_values(channels * rank, 3)) w.push_back(f32_to_bf16(value));
  std::vector<float> decays;
  for (std::int64_t row = 0; row < c.batch; ++row) {
    for (std::int64_t d = 0; d < channels; ++d) {
      double r = c.biased ? static_cast<double>(bias[static_cast<std::size_t>(d)]) : 0.0;
      for (std::int64_t i = 0; i < rank; ++i) {
        r += static_cast<double>(bf16_to_f32(w[static_cast<std::size_t>(d * rank + i)])) *
             rounded(low[static_cast<std::size_t>(row * rank + i)]);
      }
      const double decay = (std::fmin(r, 0.0) - std::log1p(std::exp(-std::fabs(r)))) / 16;
      decays.push_back(static_cast<float>(
          c.clamp_min ? std::fmax(decay, static_cast<double>(*c.clamp_min)) : decay));
    }
  }
  const DeviceArray q(random_values(c.batch * s.heads * s.dk, 4));
  const DeviceArray k(random_values(c.batch * channels, 5));
  const DeviceArray v(random_values(c.batch * s.kv_heads * s.dv, 6));
  const DeviceArray d_low(low), d_bias(bias), d_decays(decays);
  const DeviceArray d_w(w);
  const std::int64_t state_size = channels * s.dv, outputs = c.batch * s.heads * s.dv;
  const auto states = random_values(c.batch * state_size, 7);
  const DeviceArray states_a(states), states_b(states);
  const auto o_a = DeviceArray<float>::poisoned(static_cast<std::size_t>(outputs));
  const auto o_b = DeviceArray<float>::poisoned(static_cast<std::size_t>(outputs));
  std::vector<GlaSequence> a, b;
  for (std::int64_t i = 0; i < c.batch; ++i) {
    a.push_back({i, 1, states_a.data() + i * state_size});
    b.push_back({i, 1, states_b.data() + i * state_size});
  }
  const GlaGate gate{d_w.data(), c.biased ? d_bias.data() : nullptr, d_low.data(), 16.0F,
                     c.clamp_min};
  gla_step(gpu_stream(), s, a.data(), c.batch, q.data(), k.data(), v.data(), gate, o_a.data());
  gla_recurrent(gpu_stream(), s, b.data(), c.batch, q.data(), k.data(), v.data(), d_decays.data(),
                o_b.data());
  const auto got = o_a.host(), expected = o_b.host();
  const auto got_states = states_a.host(), expected_states = states_b.host();
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 2e-4F) << i;
  for (std::size_t i = 0; i < got_states.size(); ++i) {
    ASSERT_NEAR(got_states[i], expected_states[i], 1e-5F) << i;
  }
}

TEST(GlaStepCuda, MakesItsDecaysItself) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  expect_same_step({{4, 4, 256, 512, 0.0625F}, 1, true, {}});
  expect_same_step({{4, 4, 256, 512, 0.0625F}, 33, false, -0.05F});
  expect_same_step({{4, 2, 48, 96, 0.15F}, 3, true, {}});
  expect_same_step({{2, 2, 300, 70, 0.1F}, 70, true, -0.1F});
}

}  // namespace
}  // namespace aquatint::kernels
