// Quantizing does not depend on the container that the weights come in.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "formats/gguf_testing.h"
#include "formats/safetensors.h"
#include "formats/torch_testing.h"
#include "models/model.h"
#include "quantize/test_support.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;
using testing::GgufWriter;
using testing::quantize_to;
using testing::SmallModel;

constexpr const char* kRecipe = "name: test\nweights: {bits: 8}\nactivations: {bits: 8}\n";

TEST(Containers, PyTorchFilesGiveTheSameTensors) {
  const SmallModel model;
  quantize_to(model.folder(), kRecipe, model.path("from_safetensors"));
  std::vector<std::pair<std::string, Tensor>> tensors;
  {
    const auto set = SafetensorsSet::open_folder(model.folder());
    for (const auto& [name, entry] : set.entries()) {
      tensors.emplace_back(name, set.tensor(name).clone());
    }
  }
  fs::remove(model.folder() / "model.safetensors");
  std::ofstream(model.folder() / "pytorch_model.bin", std::ios::binary)
      << testing::state_dict_bytes(tensors);
  quantize_to(model.folder(), kRecipe, model.path("from_bin"));
  EXPECT_EQ(testing::read_bytes(model.path("from_bin") / "model.safetensors"),
            testing::read_bytes(model.path("from_safetensors") / "model.safetensors"));
}

// A llama with a matrix in blocks of Q8_0.
std::string gguf_bytes() {
  GgufWriter writer;
  writer.set("general.architecture", "llama").set("llama.block_count", 1u);
  writer.set("llama.embedding_length", 32u).set("llama.feed_forward_length", 64u);
  writer.set("llama.attention.head_count", 2u).set("llama.context_length", 64u);
  writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "gpt-2");
  writer.set("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "c"});
  writer.set("tokenizer.ggml.eos_token_id", 2u).set("tokenizer.ggml.eot_token_id", 1u);
  const auto matrix = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    std::string blocks;
    for (std::int64_t i = 0; i < rows * columns / 32; ++i) {
      blocks += testing::raw(f32_to_f16(0.01f));
      for (int j = 0; j < 32; ++j) blocks += static_cast<char>((i * 37 + j * 11) % 200 - 100);
    }
    writer.tensor(name, {rows, columns}, 8, blocks);
  };
  const auto vector = [&](const std::string& name) {
    const Tensor ones = Tensor::empty({32}, DType::kF32);
    std::fill_n(ones.mutable_data<float>(), 32, 1.0f);
    writer.tensor(name, ones);
  };
  matrix("token_embd.weight", 3, 32);
  vector("output_norm.weight");
  vector("blk.0.attn_norm.weight");
  vector("blk.0.ffn_norm.weight");
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
    matrix(std::string("blk.0.") + name + ".weight", 32, 32);
  }
  matrix("blk.0.ffn_gate.weight", 64, 32);
  matrix("blk.0.ffn_up.weight", 64, 32);
  matrix("blk.0.ffn_down.weight", 32, 64);
  return writer.bytes();
}

TEST(Containers, GgufBecomesAFolderWithItsTokenizer) {
  const testing::TempFolder temp;
  const fs::path file = temp.write("tiny.gguf", gguf_bytes()), out = temp.path() / "out";
  const Checkpoint original = Checkpoint::open(file);
  const TensorSpec& query = *original.architecture().find("model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(original.stored_name(query), "Q8_0");
  EXPECT_EQ(original.stored_dtype(query), DType::kF32);
  EXPECT_EQ(original.stored_bytes(query), 34 * 32);
  EXPECT_EQ(original.read_bytes(query), 4 * 32 * 32);

  quantize_to(file, kRecipe, out);
  const auto config = nlohmann::json::parse(testing::read_bytes(out / "config.json"));
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["vocab_size"], 3);
  EXPECT_EQ(config["eos_token_id"], (std::vector<int>{2, 1}));
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_TRUE(
      nlohmann::json::parse(testing::read_bytes(out / "tokenizer.json"))["model"]["vocab"].contains(
          "c"));
  EXPECT_EQ(nlohmann::json::parse(testing::read_bytes(out / "tokenizer_config.json"))["eos_token"],
            "c");
  const Checkpoint written = Checkpoint::open(out);
  EXPECT_TRUE(written.scheme(query).has_value());
  EXPECT_GT(Model::load(written, {}).weight_bytes(), 0);
}

}  // namespace
}  // namespace aquatint
