// GLA checkpoints against the implementations they must agree with: trained models against the
// Python one in float32, and every variant of the configuration against NumPy in float64
// (tests/golden/make_gla_variants.py).
#include "models/gla.h"

#include <algorithm>

#include "models/test_models.h"

namespace aquatint {
namespace {

std::string test_name(std::string name) {
  std::erase(name, '-');
  return name;
}

class GlaReference : public ::testing::TestWithParam<const char*> {};

TEST_P(GlaReference, LogitsAndHiddenValuesMatchThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, std::string("models/") + GetParam());
  testing::expect_matches_reference(folder, {});
}

INSTANTIATE_TEST_SUITE_P(Models, GlaReference, ::testing::Values("gla", "gla-demo"),
                         [](const auto& row) { return test_name(row.param); });

std::vector<float> golden_logits(const std::string& variant) {
  return testing::expect_matches_golden(testing::golden_variant(variant));
}

class GlaVariant : public ::testing::TestWithParam<std::string> {};

TEST_P(GlaVariant, LogitsMatchFloat64) {
  golden_logits(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Golden, GlaVariant, ::testing::ValuesIn(testing::golden_variants("gla")),
                         [](const auto& row) { return test_name(row.param); });

TEST(GlaVariants, SpellingsOfOneFunctionGiveTheSameBits) {
  const std::pair<const char*, const char*> pairs[] = {
      {"plain", "fused_gate_proj"},
      {"tied_head", "tied_head_key_absent"},
      {"rms_norm_eps", "norm_eps"},
      {"no_fuse_norm", "act_silu"},
  };
  for (const auto& [one, other] : pairs) {
    EXPECT_EQ(golden_logits(one), golden_logits(other)) << one << " and " << other;
  }
}

}  // namespace
}  // namespace aquatint
