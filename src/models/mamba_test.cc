// Mamba checkpoints against the implementations they must agree with (tools/make_golden.py), and
// configurations that must be understood or refused.
#include "models/mamba.h"

#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::golden_variant;

TEST(MambaReference, LogitsAndHiddenValuesMatchThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, "models/mamba");
  testing::expect_matches_reference(folder, {},
                                    {.hidden = testing::HiddenValues::kAfter, .rounding = 5e-6f});
}

std::vector<float> golden_logits(const std::string& variant) {
  return testing::expect_matches_golden(golden_variant(variant, "mamba"));
}

class MambaVariant : public ::testing::TestWithParam<std::string> {};

TEST_P(MambaVariant, LogitsMatchTheReference) {
  golden_logits(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Golden, MambaVariant,
                         ::testing::ValuesIn(testing::golden_variants("mamba")),
                         [](const auto& row) { return row.param; });

TEST(MambaVariants, SpellingsOfOneFunctionGiveTheSameBits) {
  for (const char* other : {"original", "original_as_hf", "stale_keys"}) {
    EXPECT_EQ(golden_logits("plain"), golden_logits(other)) << other;
  }
}

std::unique_ptr<Architecture> architecture_of(const std::string& json) {
  return make_architecture(Config::parse(json, "config.json"));
}

TEST(MambaConfig, DefaultsAreThoseOfThePythonClasses) {
  const auto hf = architecture_of(R"({"model_type": "mamba", "hidden_size": 100})");
  EXPECT_EQ(hf->blocks(), 32);
  EXPECT_EQ(hf->vocab_size(), 50280);
  EXPECT_EQ(hf->find("backbone.layers.0.mixer.dt_proj.weight")->shape, Shape({200, 7}));
  EXPECT_EQ(hf->find("backbone.layers.0.mixer.x_proj.weight")->shape, Shape({7 + 32, 200}));
  EXPECT_TRUE(hf->find("lm_head.weight")->tied);
  EXPECT_FALSE(hf->runs_on_gpu());

  const auto original =
      architecture_of(R"({"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {}})");
  EXPECT_STREQ(original->name(), "mamba");
  EXPECT_EQ(original->vocab_size(), 50280);
  EXPECT_NE(original->find("backbone.embedding.weight"), nullptr);
}

TEST(MambaConfig, RefusesWhatItCannotCompute) {
  const auto refuses = [](ErrorKind kind, const std::string& text, const std::string& changes) {
    const std::string base = R"({"d_model": 32, "n_layer": 1, "vocab_size": 8)";
    expect_error(kind, text, [&] { architecture_of(base + ", " + changes + "}"); });
  };
  const ErrorKind unsupported = ErrorKind::kUnsupported;
  refuses(unsupported, "ssm_cfg.layer", R"("ssm_cfg": {"layer": "Mamba3"})");
  refuses(unsupported, "attn_layer_idx", R"("ssm_cfg": {}, "attn_layer_idx": [3])");
  refuses(unsupported, "d_intermediate", R"("ssm_cfg": {}, "d_intermediate": 64)");
  refuses(unsupported, "rms_norm", R"("ssm_cfg": {}, "rms_norm": false)");
  refuses(ErrorKind::kCorrupt, "ssm_cfg.dt_rank", R"("ssm_cfg": {"dt_rank": "none"})");
  refuses(ErrorKind::kCorrupt, "d_conv", R"("ssm_cfg": {"d_conv": 0})");
  refuses(ErrorKind::kCorrupt, "more taps than supported", R"("ssm_cfg": {"d_conv": 9})");
  refuses(ErrorKind::kCorrupt, "expand is -1", R"("ssm_cfg": {"expand": -1})");
  expect_error(unsupported, "hidden_act",
               [] { architecture_of(R"({"model_type": "mamba", "hidden_act": "relu"})"); });
  for (const char* relative : {"falcon_mamba", "jamba", "bamba", "zamba", "zamba2", "mamba3"}) {
    expect_error(unsupported, "is not supported: it has", [&] {
      architecture_of(fmt::format(R"({{"model_type": "{}", "hidden_size": 8}})", relative));
    });
  }
}

TEST(MambaCheckpoint, ADeviceItHasNoFormForIsRefusedBeforeLoading) {
  const Checkpoint checkpoint = Checkpoint::open(golden_variant("plain", "mamba"));
  LoadOptions options;
  options.device = Device{DeviceKind::kCuda, 0};
  expect_error(ErrorKind::kUnsupported, "mamba models run on the CPU only, not on cuda:0",
               [&] { Model::load(checkpoint, options); });
}

}  // namespace
}  // namespace aquatint
