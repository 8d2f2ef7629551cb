// Llama and its family: the trained model against the Python implementation, rotary scalings
// against known numbers, and configurations that must be refused by name.
#include "models/llama.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/rope_scaling.h"
#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::expect_error;

Config config_with(const std::string& changes) {
  auto config = nlohmann::json::parse(R"({"model_type": "llama", "hidden_size": 32,
      "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
      "vocab_size": 40, "intermediate_size": 48, "max_position_embeddings": 128})");
  config.merge_patch(nlohmann::json::parse(changes));
  return Config::parse(config.dump(), "config.json");
}

TEST(Llama, LogitsAndHiddenValuesMatchThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, "models/llama");
  testing::expect_matches_reference(folder, {});
}

TEST(Llama, ShapesFollowTheConfiguration) {
  const auto model = make_architecture(config_with(R"({"head_dim": 16, "attention_bias": true})"));
  EXPECT_TRUE(model->find("model.layers.3.self_attn.q_proj.weight")->shape == Shape({64, 32}));
  EXPECT_TRUE(model->find("model.layers.0.self_attn.k_proj.weight")->shape == Shape({32, 32}));
  EXPECT_TRUE(model->find("model.layers.0.self_attn.o_proj.weight")->shape == Shape({32, 64}));
  EXPECT_NE(model->find("model.layers.0.self_attn.o_proj.bias"), nullptr);
  EXPECT_EQ(model->find("model.layers.0.mlp.down_proj.bias"), nullptr);
  EXPECT_TRUE(model->ignores("model.layers.0.self_attn.rotary_emb.inv_freq"));
  EXPECT_FALSE(model->ignores("model.layers.0.self_attn.q_norm.weight"));

  const auto qwen = make_architecture(config_with(R"({"model_type": "qwen2"})"));
  EXPECT_STREQ(qwen->name(), "qwen2");
  EXPECT_NE(qwen->find("model.layers.0.self_attn.v_proj.bias"), nullptr);
  EXPECT_EQ(qwen->find("model.layers.0.self_attn.o_proj.bias"), nullptr);
}

TEST(Llama, MiniCpmIsFoundWithoutModelType) {
  const auto model = make_architecture(
      config_with(R"({"model_type": null, "architectures": ["MiniCPMForCausalLM"]})"));
  EXPECT_STREQ(model->name(), "minicpm");
  EXPECT_TRUE(model->find("lm_head.weight")->tied);
  EXPECT_FALSE(model->runs_on_gpu());
}

TEST(Llama, OtherModelsAreRefusedByTheKeyThatTells) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"num_local_experts": 8})", "key 'num_local_experts' is 8: a mixture of experts"},
      {R"({"model_type": "minicpm", "num_experts": 8})", "key 'num_experts' is 8"},
      {R"({"q_lora_rank": 768})", "key 'q_lora_rank' is 768: multi-head latent attention"},
      {R"({"model_type": "minicpm", "sparse_config": {}})", "sparse attention (MiniCPM4)"},
      {R"({"model_type": "minicpm", "rope_scaling": {"rope_type": "longrope"}})", "longrope"},
      {R"({"attention_chunk_size": 8192})", "key 'attention_chunk_size' is 8192"},
      {R"({"qk_norm": true})", "normalized queries and keys"},
      {R"({"hidden_act": "mish"})", "hidden_act 'mish'"},
      {R"({"architectures": ["LlamaModel"]})", "language model head"},
      {R"({"layer_types": ["full_attention", "linear_attention", "full_attention",
                           "full_attention"]})",
       "layers of another kind"},
      {R"({"model_type": "mistral", "sliding_window": 16,
           "layer_types": ["full_attention", "full_attention", "full_attention",
                           "full_attention"]})",
       "contradicts sliding_window"},
      {R"({"rope_scaling": {"rope_type": "longrope", "factor": 4}})", "rope_scaling.rope_type"},
      {R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})",
       "differ between layers"},
      {R"({"rope_parameters": {"partial_rotary_factor": 0.5}})", "rotated in part"},
      {R"({"model_type": "mixtral"})", "it has a mixture of experts"},
      {R"({"model_type": "qwen3"})", "it has normalized queries and keys"},
      {R"({"model_type": "minicpm3"})", "it has multi-head latent attention"},
      {R"({"model_type": "opt"})", "model_type 'opt' is not supported (supported: gla"},
  };
  for (const auto& [changes, text] : cases) {
    expect_error(ErrorKind::kUnsupported, text, [&] { make_architecture(config_with(changes)); });
  }
}

TEST(Llama, ImpossibleNumbersAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"num_key_value_heads": 3})", "not a multiple of num_key_value_heads (4 and 3)"},
      {R"({"num_attention_heads": 5, "num_key_value_heads": 5})", "(32 and 5)"},
      {R"({"head_dim": 7})", "cannot be rotated (7 and 2)"},
      {R"({"hidden_size": 0})", "hidden_size is 0"},
      {R"({"rms_norm_eps": -1})", "rms_norm_eps is -1"},
      {R"({"rope_theta": 0})", "rope_theta is 0"},
      {R"({"rope_scaling": {"type": "linear"}})", "factor"},
      {R"({"rope_scaling": {"type": "linear", "factor": 0}})", "factor is 0"},
      {R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                            "high_freq_factor": 4}})",
       "is not above low_freq_factor"},
      {R"({"layer_types": ["full_attention"]})", "one entry for each block (1 and 4)"},
      {R"({"model_type": "mistral", "sliding_window": -1})", "sliding_window is out of range"},
  };
  for (const auto& [changes, text] : cases) {
    expect_error(ErrorKind::kCorrupt, text, [&] { make_architecture(config_with(changes)); });
  }
}

// The values of Llama-3.2-1B that a check against transformers gave.
TEST(RopeScaling, Llama3MatchesKnownValues) {
  const Config config = Config::parse(
      R"({"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 32.0,
          "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}})",
      "config.json");
  const RopeSettings rope = read_rope(config, 64, 131072);
  const std::pair<std::size_t, float> known[] = {{0, 1.0f},
                                                 {1, 0.663601238f},
                                                 {14, 0.00321144599f},
                                                 {15, 0.00129054793f},
                                                 {16, 0.000429556797f},
                                                 {17, 9.7082878e-05f},
                                                 {18, 1.94616382e-05f},
                                                 {31, 9.41830673e-08f}};
  for (const auto& [i, value] : known) EXPECT_NEAR(rope.inv_freq[i], value, 2e-6f * value) << i;
  EXPECT_EQ(rope.attention_factor, 1.0f);
}

TEST(RopeScaling, SpellingsOfOneScalingAgree) {
  const char* spellings[] = {
      R"({"rope_theta": 50000, "rope_scaling": {"type": "linear", "factor": 4}})",
      R"({"rope_theta": 50000.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0}})",
      R"({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50000.0}})"};
  const auto expected = read_rope(Config::parse(spellings[0], "config.json"), 16, 64).inv_freq;
  EXPECT_FLOAT_EQ(expected[0], 0.25f);
  for (const char* spelling : spellings) {
    EXPECT_EQ(read_rope(Config::parse(spelling, "config.json"), 16, 64).inv_freq, expected);
  }
}

TEST(RopeScaling, YarnHasAnAttentionFactor) {
  const auto factor = [](const char* extra) {
    const std::string text =
        std::string(R"({"rope_scaling": {"type": "yarn", "factor": 4.0)") + extra + "}}";
    return read_rope(Config::parse(text, "config.json"), 16, 64).attention_factor;
  };
  EXPECT_NEAR(factor(""), 0.1 * std::log(4.0) + 1, 1e-6);
  EXPECT_EQ(factor(R"(, "attention_factor": 1.25)"), 1.25f);
  EXPECT_NEAR(factor(R"(, "mscale": 0.5, "mscale_all_dim": 1.0)"),
              (0.05 * std::log(4.0) + 1) / (0.1 * std::log(4.0) + 1), 1e-6);
}

TEST(RopeScaling, DynamicFrequenciesBeginWhereTrainingEnded) {
  const Config config =
      Config::parse(R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})", "config.json");
  const RopeSettings rope = read_rope(config, 16, 64);
  ASSERT_TRUE(rope.dynamic.has_value());
  EXPECT_EQ(rope.dynamic->inverse_frequencies(16, 64), rope.inv_freq);
  // theta (2 128/64 - 1)^(16/14), to the power -2/16.
  EXPECT_NEAR(rope.dynamic->inverse_frequencies(16, 128)[1],
              std::pow(1e4 * std::pow(3.0, 16.0 / 14.0), -2.0 / 16.0), 1e-7);
}

}  // namespace
}  // namespace aquatint
