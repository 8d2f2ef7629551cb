// GPT-2: the trained model against the Python implementation, what files may look like, and
// configurations that must be refused.
#include "models/gpt2.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "formats/safetensors.h"
#include "models/synth.h"
#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::all_logits;
using testing::expect_error;
using testing::TempFolder;

Config config_with(const std::string& changes) {
  auto config = nlohmann::json::parse(R"({"model_type": "gpt2", "n_embd": 24, "n_layer": 2,
      "n_head": 3, "n_positions": 48, "vocab_size": 40})");
  config.merge_patch(nlohmann::json::parse(changes));
  return Config::parse(config.dump(), "config.json");
}

std::filesystem::path make_random(const TempFolder& folder, const std::string& name,
                                  const std::string& changes = "{}") {
  SynthOptions options;
  options.output = folder.path() / name;
  options.dtype = DType::kF32;
  synthesize(config_with(changes), options);
  return options.output;
}

// Plain float32 and float64 evaluations of this model differ by 1e-3: its attention is sharp.
TEST(Gpt2, LogitsAndHiddenValuesMatchThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, "models/gpt2");
  testing::expect_matches_reference(folder, {}, {.tolerance = 3e-3f});
}

TEST(Gpt2, WeightsAreTransposedInFilesOnly) {
  const TempFolder folder;
  const auto path = make_random(folder, "model");
  const Checkpoint checkpoint = Checkpoint::open(path);
  const Tensor ours = checkpoint.tensor("transformer.h.0.attn.c_attn.weight").to_f32();
  const Tensor stored = checkpoint.tensors().tensor("transformer.h.0.attn.c_attn.weight").to_f32();
  ASSERT_TRUE(ours.shape() == Shape({72, 24}));
  ASSERT_TRUE(stored.shape() == Shape({24, 72}));
  for (std::int64_t r = 0; r < 72; ++r) {
    for (std::int64_t c = 0; c < 24; ++c) {
      ASSERT_EQ(ours.data<float>()[r * 24 + c], stored.data<float>()[c * 72 + r]);
    }
  }
}

// Names without "transformer.", masks beside the weights and a copy of the tied head change
// nothing.
TEST(Gpt2, OlderFilesGiveTheSameLogits) {
  const TempFolder folder;
  const auto path = make_random(folder, "model");
  const Checkpoint checkpoint = Checkpoint::open(path);
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, entry] : checkpoint.tensors().entries()) {
    tensors.emplace_back(name.substr(std::string("transformer.").size()),
                         checkpoint.tensors().tensor(name).clone());
  }
  tensors.emplace_back("h.0.attn.bias", Tensor::zeros({1, 1, 48, 48}, DType::kF32));
  tensors.emplace_back("h.1.attn.masked_bias", Tensor::zeros({1}, DType::kF32));
  tensors.emplace_back("lm_head.weight", checkpoint.tensor("transformer.wte.weight").clone());
  const auto older = folder.path() / "older";
  std::filesystem::create_directories(older);
  write_safetensors(older / "model.safetensors", tensors);
  std::filesystem::copy_file(path / "config.json", older / "config.json");

  const auto text = testing::random_tokens(48, 40, 1);
  Model model = Model::load(checkpoint, {}), again = Model::load(Checkpoint::open(older), {});
  EXPECT_EQ(all_logits(model, text), all_logits(again, text));
}

// The projection of attention is square, so only the table can say how files hold it.
TEST(Gpt2, QuantizedWeightsReadBackAsTheyWere) {
  const TempFolder folder;
  const auto path = make_random(folder, "model");
  Model model = Model::load(Checkpoint::open(path), {});
  const auto text = testing::random_tokens(48, 40, 1);
  const auto expected = all_logits(model, text);
  const std::vector<float> zeros(expected.size());
  const float largest = testing::max_difference(expected, zeros);
  const std::pair<ActivationScheme, const char*> cases[] = {
      {ActivationScheme::kInt8Dynamic, ".weight"}, {ActivationScheme::kFloat, ".weight_packed"}};
  for (const auto& [activations, part] : cases) {
    const auto quantized = testing::make_quantized(folder, part, path, 8, 0, activations);
    const Checkpoint checkpoint = Checkpoint::open(quantized);
    const Tensor stored =
        checkpoint.tensors().tensor(std::string("transformer.h.0.mlp.c_fc") + part);
    const bool packed = activations == ActivationScheme::kFloat;
    EXPECT_TRUE(stored.shape() == (packed ? Shape({96, 6}) : Shape({24, 96})));
    Model small = Model::load(checkpoint, {});
    EXPECT_LT(testing::max_difference(all_logits(small, text), expected), 0.1f * largest) << part;
  }
}

TEST(Gpt2, PositionsEnd) {
  const TempFolder folder;
  Model model = Model::load(Checkpoint::open(make_random(folder, "model")), {});
  SequenceState state = model.new_state();
  model.run(testing::random_tokens(48, 40, 1), state);
  expect_error(ErrorKind::kInvalidArgument, "a sequence of 49 tokens; the model has 48 positions",
               [&] { model.run(testing::random_tokens(1, 40, 1), state); });
}

TEST(Gpt2, OtherConfigurationsAreRefused) {
  const std::pair<const char*, const char*> unsupported[] = {
      {R"({"add_cross_attention": true})", "cross attention"},
      {R"({"position_embedding_type": "alibi"})", "learned positions"},
      {R"({"activation_function": "mish"})", "activation_function 'mish'"},
  };
  for (const auto& [changes, text] : unsupported) {
    expect_error(ErrorKind::kUnsupported, text, [&] { make_architecture(config_with(changes)); });
  }
  const std::pair<const char*, const char*> corrupt[] = {
      {R"({"n_head": 5})", "n_embd is not a multiple of n_head (24 and 5)"},
      {R"({"n_positions": 0})", "n_positions is 0"},
      {R"({"layer_norm_epsilon": 2})", "layer_norm_epsilon is 2"},
  };
  for (const auto& [changes, text] : corrupt) {
    expect_error(ErrorKind::kCorrupt, text, [&] { make_architecture(config_with(changes)); });
  }
}

TEST(Gpt2, OtherSpellingsOfSizesAreAccepted) {
  const auto model = make_architecture(Config::parse(
      R"({"model_type": "gpt2", "hidden_size": 24, "num_hidden_layers": 3,
          "num_attention_heads": 2, "n_ctx": 32, "vocab_size": 40, "n_inner": 36})",
      "config.json"));
  EXPECT_EQ(model->hidden_size(), 24);
  EXPECT_EQ(model->blocks(), 3);
  EXPECT_EQ(model->max_positions(), 32);
  EXPECT_TRUE(model->find("transformer.h.2.mlp.c_fc.weight")->shape == Shape({36, 24}));
}

}  // namespace
}  // namespace aquatint
