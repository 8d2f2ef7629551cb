// Mamba-2 checkpoints against the implementations they must agree with (tools/make_golden.py), and
// configurations that must be understood or refused.
#include "models/mamba2.h"

#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::golden_variant;

TEST(Mamba2Reference, LogitsAndHiddenValuesMatchThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, "models/mamba2");
  testing::expect_matches_reference(folder, {},
                                    {.hidden = testing::HiddenValues::kAfter, .rounding = 5e-6f});
}

std::vector<float> golden_logits(const std::string& variant) {
  return testing::expect_matches_golden(golden_variant(variant, "mamba2"));
}

class Mamba2Variant : public ::testing::TestWithParam<std::string> {};

TEST_P(Mamba2Variant, LogitsMatchTheReference) {
  golden_logits(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Golden, Mamba2Variant,
                         ::testing::ValuesIn(testing::golden_variants("mamba2")),
                         [](const auto& row) { return row.param; });

TEST(Mamba2Variants, SpellingsOfOneFunctionGiveTheSameBits) {
  for (const char* other : {"model_prefix", "norm_before_gate_ignored"}) {
    EXPECT_EQ(golden_logits("plain"), golden_logits(other)) << other;
  }
  EXPECT_EQ(golden_logits("limit_infinity_object"), golden_logits("limit_infinity_literal"));
}

std::unique_ptr<Architecture> architecture_of(const std::string& json) {
  return make_architecture(Config::parse(json, "config.json"));
}

TEST(Mamba2Config, DefaultsAreThoseOfThePythonClasses) {
  const auto hf = architecture_of(R"({"model_type": "mamba2"})");
  EXPECT_EQ(hf->hidden_size(), 4096);
  EXPECT_EQ(hf->blocks(), 64);
  EXPECT_EQ(hf->vocab_size(), 32768);
  const std::string mixer = "backbone.layers.63.mixer.";
  // z and x of 8192, B and C of 8 groups of 128, 128 heads.
  EXPECT_EQ(hf->find(mixer + "in_proj.weight")->shape, Shape({2 * 8192 + 2 * 1024 + 128, 4096}));
  EXPECT_EQ(hf->find(mixer + "conv1d.weight")->shape, Shape({8192 + 2 * 1024, 1, 4}));
  EXPECT_EQ(hf->find(mixer + "D")->shape, Shape({128}));
  EXPECT_FALSE(hf->find("lm_head.weight")->tied);

  const auto original = architecture_of(R"({"d_model": 2560, "n_layer": 64, "vocab_size": 50277,
      "model_type": "mamba", "pad_vocab_size_multiple": 16, "ssm_cfg": {"layer": "Mamba2"}})");
  EXPECT_STREQ(original->name(), "mamba2");
  EXPECT_EQ(original->vocab_size(), 50288);
  EXPECT_EQ(original->find(mixer + "in_proj.weight")->shape, Shape({2 * 5120 + 256 + 80, 2560}));
  EXPECT_TRUE(original->find("lm_head.weight")->tied);
}

TEST(Mamba2Config, RefusesWhatDoesNotFit) {
  const auto refuses = [](ErrorKind kind, const std::string& text, const std::string& changes) {
    const std::string base = R"({"model_type": "mamba2", "hidden_size": 32, "num_heads": 4,
        "head_dim": 16, "n_groups": 2, "num_hidden_layers": 1, "vocab_size": 8)";
    architecture_of(base + "}");
    expect_error(kind, text, [&] { architecture_of(base + ", " + changes + "}"); });
  };
  const ErrorKind corrupt = ErrorKind::kCorrupt;
  refuses(corrupt, "num_heads times head_dim is not hidden_size times expand (64 and 96)",
          R"("expand": 3)");
  refuses(corrupt, "not a multiple of the groups (4 and 3)", R"("n_groups": 3)");
  refuses(corrupt, "norm_group_size (64 and 48)", R"("norm_group_size": 48)");
  const ErrorKind unsupported = ErrorKind::kUnsupported;
  refuses(unsupported, "time_step_limit", R"("time_step_limit": [0.1])");
  refuses(unsupported, "time_step_limit", R"("time_step_limit": [0.2, 0.1])");
  refuses(unsupported, "time_step_limit", R"("time_step_limit": [0.1, NaN])");
  const auto refuses_original = [](const std::string& text, const std::string& mixer) {
    const std::string base = R"({"d_model": 32, "n_layer": 1, "vocab_size": 8, "ssm_cfg": )";
    const std::string keys = R"({"layer": "Mamba2", "headdim": 16, )" + mixer + "}";
    expect_error(ErrorKind::kCorrupt, text, [&] { architecture_of(base + keys + "}"); });
  };
  refuses_original("ssm_cfg.d_ssm is more than d_model times expand (80 and 64)", R"("d_ssm": 80)");
  refuses_original("not a multiple of ssm_cfg.headdim (40 and 16)", R"("d_ssm": 40)");
}

}  // namespace
}  // namespace aquatint
