// The CUDA kernel against the reference: the same token from the same logits, always.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cuda_testing.h"
#include "kernels/sample/sample.h"

namespace aquatint::kernels {
namespace {

using testing::DeviceArray;
using testing::gpu_stream;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

enum class Logits {
  kNormal,
  kNarrow,  // many in each bin of the first histogram
  kEqual,
  kFewValues,  // so many of each that they are no list
  kHuge,       // of all magnitudes
  kInfinite,
  kZeros,  // of both signs
  kSpikes,
};
constexpr Logits kAllKinds[] = {Logits::kNormal,    Logits::kNarrow, Logits::kEqual,
                                Logits::kFewValues, Logits::kHuge,   Logits::kInfinite,
                                Logits::kZeros,     Logits::kSpikes};

float random_logit(Logits kind, std::mt19937& random) {
  std::normal_distribution<float> normal;
  switch (kind) {
    case Logits::kNormal:
      return 4 * normal(random);
    case Logits::kNarrow:
      return random() % 100 == 0 ? 20 * normal(random) : 3 + 1e-6f * normal(random);
    case Logits::kEqual:
      return -1.5f;
    case Logits::kFewValues:
      return static_cast<float>(random() % 3);
    case Logits::kHuge:
      return std::pow(10.0f, 8 * normal(random)) * (random() % 2 == 0 ? 1.0f : -1.0f);
    case Logits::kInfinite:
      return random() % 3 == 0 ? normal(random) : -kInfinity;
    case Logits::kZeros:
      return random() % 2 == 0 ? 0.0f : -0.0f;
    case Logits::kSpikes:
      return random() % 1000 == 0 ? kInfinity : normal(random);
  }
  return 0;
}

SampleRow random_row(std::mt19937& random) {
  const auto one_of = [&](const auto& values) { return values[random() % std::size(values)]; };
  SampleRow how;
  how.temperature = one_of(std::vector<float>{0, 0.01f, 0.7f, 0.7f, 1, 1, 3, 100, 1e30f, 1e-40f});
  how.top_p = one_of(std::vector<float>{1, 1, 0.95f, 0.999f, 0.5f, 1e-9f});
  how.min_p = one_of(std::vector<float>{0, 0, 0.05f, 0.5f, 1e-5f});
  how.top_k = one_of(std::vector<std::int64_t>{0, 0, 1, 2, 40, 300, 1000, 1'000'000});
  how.repetition_penalty = one_of(std::vector<float>{1, 1.3f});
  how.random = static_cast<std::uint64_t>(random()) << 32 | random();
  if (random() % 8 == 0) how.random = random() % 2 == 0 ? 0 : ~std::uint64_t{0};
  return how;
}

// Rows of logits that end in NaN, which must not be looked at, and how to choose of each.
struct Problem {
  Problem(Logits kind, std::int64_t row_count, std::int64_t vocabulary, std::int64_t padding,
          unsigned seed)
      : rows(row_count), allowed(vocabulary), ld(vocabulary + padding) {
    std::mt19937 random(seed);
    logits.assign(static_cast<std::size_t>(rows * ld), std::nanf(""));
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t k = 0; k < allowed; ++k) {
        logits[static_cast<std::size_t>(i * ld + k)] = random_logit(kind, random);
      }
      how.push_back(random_row(random));
      how.back().first_seen = static_cast<std::int64_t>(seen.size());
      const auto step = 1 + static_cast<std::int64_t>(random() % 50);
      for (std::int64_t t = -1; t < ld && t < 3000; t += step) {
        seen.push_back(static_cast<std::int32_t>(t));
      }
      how.back().seen = static_cast<std::int64_t>(seen.size()) - how.back().first_seen;
    }
  }
  // Chooses with logits that begin `shift` floats after an aligned address; compares logits too.
  void expect_same(std::int64_t shift) const {
    std::vector<float> shifted(static_cast<std::size_t>(shift), 1e30f);
    shifted.insert(shifted.end(), logits.begin(), logits.end());
    const DeviceArray d_logits(shifted);
    const DeviceArray<std::uint8_t> d_how(
        std::vector(reinterpret_cast<const std::uint8_t*>(how.data()),
                    reinterpret_cast<const std::uint8_t*>(how.data() + how.size())));
    const DeviceArray d_seen(seen);
    const auto d_tokens = DeviceArray<std::int32_t>::poisoned(how.size());
    sample(gpu_stream(), d_logits.data() + shift, rows, ld, allowed,
           reinterpret_cast<const SampleRow*>(d_how.data()), d_seen.data(), d_tokens.data());
    const auto got = d_tokens.host();
    const auto changed = d_logits.host();
    auto expected_logits = logits;
    std::vector<std::int32_t> expected(how.size());
    sample(Stream::cpu(), expected_logits.data(), rows, ld, allowed, how.data(), seen.data(),
           expected.data());
    for (std::size_t i = 0; i < how.size(); ++i) {
      const SampleRow& h = how[i];
      ASSERT_EQ(got[i], expected[i])
          << "row " << i << " of " << rows << " x " << allowed << ": temperature " << h.temperature
          << ", top-k " << h.top_k << ", top-p " << h.top_p << ", min-p " << h.min_p;
    }
    // Which of all NaN comes out of arithmetic with one differs between processors.
    for (std::size_t i = 0; i < expected_logits.size(); ++i) {
      const float mine = changed[i + static_cast<std::size_t>(shift)], other = expected_logits[i];
      ASSERT_TRUE(std::bit_cast<std::uint32_t>(mine) == std::bit_cast<std::uint32_t>(other) ||
                  (std::isnan(mine) && std::isnan(other)))
          << "logit " << i << ": " << mine << ", expected " << other;
    }
  }

  std::int64_t rows, allowed, ld;
  std::vector<float> logits;
  std::vector<SampleRow> how;
  std::vector<std::int32_t> seen;
};

TEST(SampleCuda, ChoosesTheTokensOfTheCpu) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  unsigned seed = 0;
  for (const Logits kind : kAllKinds) {
    for (const std::int64_t allowed : {1, 2, 31, 256, 257, 1023, 1025, 4096, 5003}) {
      SCOPED_TRACE(static_cast<int>(kind));
      const Problem p(kind, 24, allowed, seed % 5, seed);
      p.expect_same(seed % 4);
      if (HasFatalFailure()) return;
      ++seed;
    }
  }
}

TEST(SampleCuda, ChoosesTheTokensOfTheCpuOfLargeVocabularies) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  unsigned seed = 100;
  for (const std::int64_t allowed : {32'000, 151'665}) {
    for (const Logits kind : {Logits::kNormal, Logits::kNarrow, Logits::kFewValues}) {
      SCOPED_TRACE(static_cast<int>(kind));
      const Problem p(kind, 16, allowed, 3, seed);
      p.expect_same(seed % 2);
      if (HasFatalFailure()) return;
      ++seed;
    }
  }
}

TEST(SampleCuda, FindsNanAnywhere) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  for (const std::int64_t allowed : {1, 1001}) {
    Problem p(Logits::kNormal, 7, allowed, 2, 5);
    for (std::int64_t i = 0; i < 6; ++i) {
      const std::int64_t at = i * (allowed - 1) / 5;
      p.logits[static_cast<std::size_t>(i * p.ld + at)] =
          i % 2 == 0 ? std::nanf("") : -std::nanf("");
    }
    p.expect_same(0);
  }
}

TEST(SampleCuda, RunsAgainToTheSameTokens) {
  if (!testing::has_gpu()) GTEST_SKIP() << "no CUDA device";
  const Problem p(Logits::kNarrow, 32, 20'000, 0, 9);
  for (int i = 0; i < 5; ++i) p.expect_same(0);
}

}  // namespace
}  // namespace aquatint::kernels
