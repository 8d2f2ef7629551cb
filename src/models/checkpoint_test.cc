// Folders that are not what they should be: each gives one error of the right kind that names the
// file or tensor and the values found.
#include "models/checkpoint.h"

#include <fstream>
#include <functional>
#include <limits>
#include <map>

#include "formats/safetensors.h"
#include "formats/torch_testing.h"
#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::make_checkpoint;
using testing::TempFolder;
using testing::tiny_config;
using testing::Tokens;

using TensorMap = std::map<std::string, Tensor>;

constexpr const char* kQ = "model.layers.1.attn.q_proj.weight";

// A tiny checkpoint that tests damage and open or load again.
class DamagedCheckpoint : public ::testing::Test {
 protected:
  DamagedCheckpoint() : path_(make_checkpoint(folder_, "model")) {}

  void rewrite(const std::function<void(TensorMap&)>& change) {
    TensorMap tensors;
    {
      const auto set = SafetensorsSet::open_folder(path_);
      for (const auto& [name, entry] : set.entries()) tensors[name] = set.tensor(name).clone();
    }
    change(tensors);
    write_safetensors(path_ / "model.safetensors", {tensors.begin(), tensors.end()});
  }
  void write_config(const std::string& text) { std::ofstream(path_ / "config.json") << text; }
  void expect_refused(ErrorKind kind, const std::string& text) {
    expect_error(kind, text, [&] { Model::load(Checkpoint::open(path_), {}); });
  }

  TempFolder folder_;
  std::filesystem::path path_;
};

TEST_F(DamagedCheckpoint, LoadsWhenWhole) {
  EXPECT_GT(Model::load(Checkpoint::open(path_), {}).weight_bytes(), 0);
}

TEST_F(DamagedCheckpoint, MissingFolderAndFiles) {
  expect_error(ErrorKind::kNotFound, "no-such-model': not a model folder and not a GGUF file",
               [&] { Checkpoint::open(folder_.path() / "no-such-model"); });
  std::filesystem::remove(path_ / "model.safetensors");
  expect_refused(ErrorKind::kNotFound, "model.safetensors");
  std::filesystem::remove(path_ / "config.json");
  expect_refused(ErrorKind::kNotFound, "config.json");
}

TEST_F(DamagedCheckpoint, MissingTensor) {
  rewrite([](TensorMap& tensors) { tensors.erase(kQ); });
  expect_refused(ErrorKind::kCorrupt,
                 "model': tensor 'model.layers.1.attn.q_proj.weight' [16, 32] is missing");
}

TEST_F(DamagedCheckpoint, WrongShape) {
  rewrite([](TensorMap& tensors) { tensors[kQ] = Tensor::zeros({16, 31}, DType::kF32); });
  expect_refused(ErrorKind::kCorrupt,
                 "'model.layers.1.attn.q_proj.weight' has shape [16, 31]; config.json implies "
                 "[16, 32]");
}

TEST_F(DamagedCheckpoint, WrongRank) {
  rewrite([](TensorMap& tensors) { tensors[kQ] = Tensor::zeros({16, 32, 1}, DType::kF32); });
  expect_refused(ErrorKind::kCorrupt, "[16, 32, 1]; config.json implies [16, 32]");
}

TEST_F(DamagedCheckpoint, UnknownTensor) {
  rewrite([](TensorMap& tensors) { tensors["model.layers.2.attn.q_proj.weight"] = tensors[kQ]; });
  expect_refused(ErrorKind::kCorrupt,
                 "tensor 'model.layers.2.attn.q_proj.weight' is not part of a gla model");
}

TEST_F(DamagedCheckpoint, NotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      rewrite([&](TensorMap& tensors) {
        const Tensor weight = Tensor::zeros({16, 32}, DType::kF32);
        weight.mutable_data<float>()[100] = bad;
        tensors[kQ] = weight.to(dtype);
      });
      expect_refused(ErrorKind::kNumeric,
                     "tensor 'model.layers.1.attn.q_proj.weight' holds NaN or infinity");
    }
  }
}

TEST_F(DamagedCheckpoint, IntegerWeights) {
  rewrite([](TensorMap& tensors) { tensors[kQ] = Tensor::zeros({16, 32}, DType::kI64); });
  expect_refused(ErrorKind::kUnsupported,
                 "tensor 'model.layers.1.attn.q_proj.weight' is int64, a float type is expected");
}

TEST_F(DamagedCheckpoint, IntegerEmbedding) {
  rewrite([](TensorMap& tensors) {
    tensors["model.embeddings.weight"] = Tensor::zeros({40, 32}, DType::kI32);
  });
  expect_refused(ErrorKind::kUnsupported, "'model.embeddings.weight' is int32");
}

TEST_F(DamagedCheckpoint, ShortFile) {
  std::filesystem::resize_file(path_ / "model.safetensors", 5000);
  expect_refused(ErrorKind::kCorrupt, "model.safetensors");
}

TEST_F(DamagedCheckpoint, ModelType) {
  write_config(tiny_config(R"({"model_type": null})"));
  expect_refused(ErrorKind::kUnsupported, "config.json': model_type '(none)' is not supported");
  write_config(tiny_config(R"({"model_type": "bert"})"));
  expect_refused(ErrorKind::kUnsupported, "model_type 'bert' is not supported (supported: gla");
  write_config(tiny_config(R"({"model_type": 7})"));
  expect_refused(ErrorKind::kCorrupt, "model_type");
  write_config("[]");
  expect_refused(ErrorKind::kCorrupt, "config.json");
}

TEST_F(DamagedCheckpoint, TiedHeadNeedsNoHead) {
  rewrite([](TensorMap& tensors) { tensors.erase("lm_head.weight"); });
  EXPECT_TRUE(Checkpoint::open(path_).head_is_tied());
  rewrite([](TensorMap& tensors) {
    tensors["lm_head.weight"] = Tensor::zeros({39, 32}, DType::kF32);
  });
  expect_refused(ErrorKind::kCorrupt, "'lm_head.weight' has shape [39, 32]");
}

// The same weights in a PyTorch file, whole and in two parts, are the same model.
TEST_F(DamagedCheckpoint, PyTorchFiles) {
  const Tokens tokens = testing::random_tokens(20, 40, 1);
  Model original = Model::load(Checkpoint::open(path_), {});
  const std::vector<float> expected = testing::all_logits(original, tokens);
  std::vector<std::pair<std::string, Tensor>> tensors;
  {
    const auto set = SafetensorsSet::open_folder(path_);
    for (const auto& [name, entry] : set.entries()) {
      tensors.emplace_back(name, set.tensor(name).clone());
    }
  }
  std::filesystem::remove(path_ / "model.safetensors");
  const auto expect_same = [&] {
    const Checkpoint checkpoint = Checkpoint::open(path_);
    EXPECT_GT(checkpoint.tensors().total_bytes(), 0);
    Model model = Model::load(checkpoint, {});
    EXPECT_EQ(testing::all_logits(model, tokens), expected);
  };
  std::ofstream(path_ / "pytorch_model.bin", std::ios::binary)
      << testing::state_dict_bytes(tensors);
  expect_same();

  std::filesystem::remove(path_ / "pytorch_model.bin");
  const auto half = tensors.begin() + static_cast<std::ptrdiff_t>(tensors.size() / 2);
  std::string map;
  for (auto it = tensors.begin(); it != tensors.end(); ++it) {
    map +=
        (map.empty() ? "\"" : ", \"") + it->first + (it < half ? "\": \"1.bin\"" : "\": \"2.bin\"");
  }
  std::ofstream(path_ / "pytorch_model.bin.index.json") << "{\"weight_map\": {" << map << "}}";
  std::ofstream(path_ / "1.bin", std::ios::binary)
      << testing::state_dict_bytes({tensors.begin(), half});
  std::ofstream(path_ / "2.bin", std::ios::binary)
      << testing::state_dict_bytes({half, tensors.end()});
  expect_same();
}

// Values of config.json that make no model, with a part of the message.
struct BadConfig {
  const char* name;
  const char* changes;
  ErrorKind kind;
  const char* text;
};

class BadGlaConfig : public ::testing::TestWithParam<BadConfig> {};

TEST_P(BadGlaConfig, IsRefusedByName) {
  const BadConfig& bad = GetParam();
  expect_error(bad.kind, bad.text,
               [&] { make_architecture(Config::parse(tiny_config(bad.changes), "config.json")); });
  expect_error(bad.kind, "'config.json'",
               [&] { make_architecture(Config::parse(tiny_config(bad.changes), "config.json")); });
}

constexpr auto kCorrupt = ErrorKind::kCorrupt;
constexpr auto kUnsupported = ErrorKind::kUnsupported;

INSTANTIATE_TEST_SUITE_P(
    Values, BadGlaConfig,
    ::testing::Values(
        BadConfig{"heads", R"({"num_heads": 3})", kCorrupt,
                  "hidden_size * expand_k is not a multiple of num_heads (16 and 3)"},
        BadConfig{"value_heads", R"({"num_heads": 4, "expand_v": 0.9375})", kCorrupt,
                  "hidden_size * expand_v is not a multiple of num_heads (30 and 4)"},
        BadConfig{"kv_heads", R"({"num_heads": 4, "num_kv_heads": 3})", kCorrupt,
                  "num_heads is not a multiple of num_kv_heads (4 and 3)"},
        BadConfig{"no_heads", R"({"num_heads": 0})", kCorrupt, "below 1 (0 and 0)"},
        BadConfig{"negative_kv_heads", R"({"num_kv_heads": -2})", kCorrupt, "-2"},
        BadConfig{"many_layers", R"({"num_hidden_layers": 1000000000})", kUnsupported,
                  "num_hidden_layers is 1000000000, more than 4096"},
        BadConfig{"no_layers", R"({"num_hidden_layers": 0})", kCorrupt, "num_hidden_layers is 0"},
        BadConfig{"negative_hidden", R"({"hidden_size": -32})", kCorrupt, "hidden_size is -32"},
        BadConfig{"large_hidden", R"({"hidden_size": 1099511627776})", kCorrupt,
                  "hidden_size is 1099511627776"},
        BadConfig{"negative_vocabulary", R"({"vocab_size": -1})", kCorrupt, "vocab_size is -1"},
        BadConfig{"negative_window", R"({"max_position_embeddings": -1})", kCorrupt,
                  "max_position_embeddings is -1"},
        BadConfig{"text_hidden", R"({"hidden_size": "32"})", kCorrupt, "hidden_size"},
        BadConfig{"negative_inner", R"({"intermediate_size": -48})", kCorrupt, "-48"},
        BadConfig{"large_inner", R"({"intermediate_size": 4611686018427387904})", kCorrupt,
                  "4611686018427387904"},
        BadConfig{"large_ratio", R"({"intermediate_size": null, "hidden_ratio": 1e300})", kCorrupt,
                  "hidden_ratio is 1e+300"},
        BadConfig{"large_expand", R"({"expand_k": 1e300})", kCorrupt, "expand_k is 1e+300"},
        BadConfig{"negative_expand", R"({"expand_v": -1})", kCorrupt, "expand_v is -1"},
        BadConfig{"negative_eps", R"({"norm_eps": -1e-6})", kCorrupt, "norm_eps is -1e-06"},
        BadConfig{"feature_map", R"({"feature_map": "cosine"})", kUnsupported,
                  "feature_map 'cosine' is not supported"},
        BadConfig{"activation", R"({"hidden_act": "swoosh"})", kUnsupported,
                  "hidden_act 'swoosh' is not supported"},
        BadConfig{"conv_size", R"({"use_short_conv": true, "conv_size": 9})", kCorrupt,
                  "conv_size is outside 1..8 (9 and 8)"},
        BadConfig{"shared_conv", R"({"use_short_conv": true, "share_conv_kernel": true})",
                  kUnsupported, "share_conv_kernel is not supported"},
        BadConfig{"residuals", R"({"attnres_block_size": 4})", kUnsupported, "attnres_block_size"},
        BadConfig{"attn_layer", R"({"attn": {"layers": [2], "num_heads": 2}})", kCorrupt,
                  "attn.layers names a layer that does not exist (2 and 2)"},
        BadConfig{"attn_heads", R"({"attn": {"layers": [1], "num_heads": 3}})", kCorrupt,
                  "hidden_size is not a multiple of attn.num_heads (32 and 3)"},
        BadConfig{"attn_kv_heads",
                  R"({"attn": {"layers": [1], "num_heads": 4, "num_kv_heads": 3}})", kCorrupt,
                  "attn.num_heads is not a multiple of attn.num_kv_heads (4 and 3)"},
        BadConfig{"attn_odd", R"({"attn": {"layers": [1], "num_heads": 32}})", kCorrupt,
                  "attn head size is odd (1 and 2)"},
        BadConfig{"attn_window", R"({"attn": {"layers": [1], "num_heads": 4, "window_size": -8}})",
                  kCorrupt, "attn.window_size is below 1 (-8 and 1)"},
        BadConfig{"attn_theta", R"({"attn": {"layers": [1], "num_heads": 4, "rope_theta": 0}})",
                  kCorrupt, "attn.rope_theta is 0"},
        BadConfig{"attn_text", R"({"attn": "all"})", kCorrupt, "attn"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(GlaConfig, UnusedKeysOfPublishedFilesAreInert) {
  const auto config = Config::parse(
      tiny_config(R"({"share_conv_kernel": true, "conv_size": 4, "use_short_conv": false,
                      "attn_mode": "fused_chunk", "use_gk": true, "use_gv": false,
                      "fuse_swiglu": true, "fuse_cross_entropy": true, "expand_v": 1,
                      "torch_dtype": "bfloat16", "window_size": 3})"),
      "config.json");
  EXPECT_EQ(make_architecture(config)->tensors().size(), 3u + 2u * 14u);
}

}  // namespace
}  // namespace aquatint
