// What the tests of this folder share: a small GLA model with odd shapes, made in a temporary
// folder.
#pragma once

#include <filesystem>
#include <string>

#include "formats/test_support.h"
#include "models/checkpoint.h"
#include "models/model.h"
#include "models/synth.h"
#include "quantize/pipeline.h"

namespace aquatint::testing {

// 64 columns suit groups of 64, 32 and 16; the 100 columns of down_proj suit none.
inline std::string small_config(bool tied, int blocks = 2) {
  return fmt::format(
      R"({{"model_type": "gla", "architectures": ["GLAForCausalLM"], "hidden_size": 64,
          "num_hidden_layers": {}, "num_heads": 2, "intermediate_size": 100, "vocab_size": 50,
          "hidden_act": "swish", "max_position_embeddings": 64, "tie_word_embeddings": {}}})",
      blocks, tied);
}

class SmallModel {
 public:
  explicit SmallModel(bool tied = true, DType dtype = DType::kBF16, int blocks = 2) {
    SynthOptions options;
    options.output = folder();
    options.dtype = dtype;
    options.seed = 7;
    synthesize(Config::parse(small_config(tied, blocks), "config.json"), options);
  }
  std::filesystem::path folder() const { return temp_.path() / "model"; }
  std::filesystem::path path(const std::string& name) const { return temp_.path() / name; }
  const TempFolder& temp() const { return temp_; }

 private:
  TempFolder temp_;
};

inline Recipe recipe_of(const std::string& yaml) {
  return Recipe::parse(yaml, "test.yaml");
}

// Logits [tokens, vocab] of a text.
inline std::vector<float> logits_of(Model model, const std::vector<std::int32_t>& tokens) {
  SequenceState state = model.new_state();
  std::vector<float> all;
  const ModelInput input{tokens, &state};
  model.run(std::span(&input, 1), LogitsFor::kEveryToken,
            [&](std::size_t, std::int64_t, std::int64_t n, const float* logits) {
              all.insert(all.end(), logits, logits + n * model.vocab_size());
            });
  return all;
}

// Plans and runs in one.
inline QuantizeResult quantize_to(const std::filesystem::path& model, const std::string& yaml,
                                  const std::filesystem::path& output, bool overwrite = false,
                                  std::int64_t max_shard_bytes = std::int64_t{1} << 30,
                                  Device device = {}) {
  const Checkpoint checkpoint = Checkpoint::open(model);
  const Recipe recipe = recipe_of(yaml);
  QuantizeOptions options;
  options.output = output;
  options.overwrite = overwrite;
  options.max_shard_bytes = max_shard_bytes;
  options.device = device;
  return quantize(checkpoint, recipe, make_plan(checkpoint, recipe), options);
}

}  // namespace aquatint::testing
