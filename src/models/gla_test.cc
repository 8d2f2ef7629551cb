// GLA checkpoints against the implementations they must agree with: trained models against the
// Python one in float32, and every variant of the configuration against NumPy in float64
// (tests/golden/make_gla_variants.py).
#include "models/gla.h"

#include <algorithm>

#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::all_logits;
using testing::max_difference;
using testing::values_of;

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

std::vector<std::string> variants() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(testing::golden_variant(""))) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<float> golden_logits(const std::string& variant) {
  const auto expected =
      SafetensorsSet::open_file(testing::golden_variant(variant) / "expected.safetensors");
  const Tensor ids = expected.tensor("input_ids").clone();
  const std::span tokens(ids.data<std::int32_t>(), static_cast<std::size_t>(ids.numel()));
  Model model = Model::load(Checkpoint::open(testing::golden_variant(variant)), {});
  const auto logits = all_logits(model, tokens);
  EXPECT_LT(max_difference(logits, values_of(expected.tensor("logits").clone())),
            testing::kLogitTolerance);

  // The same text token by token, so that the decoding kernels of the variant are checked too.
  SequenceState state = model.new_state();
  std::vector<float> stepped;
  for (const std::int32_t token : tokens) {
    const auto last = model.run(std::span(&token, 1), state);
    stepped.insert(stepped.end(), last.begin(), last.end());
  }
  EXPECT_LT(max_difference(stepped, values_of(expected.tensor("logits").clone())),
            testing::kLogitTolerance);
  return logits;
}

class GlaVariant : public ::testing::TestWithParam<std::string> {};

TEST_P(GlaVariant, LogitsMatchFloat64) {
  golden_logits(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Golden, GlaVariant, ::testing::ValuesIn(variants()),
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
