// Small models written as GGUF, with what llama.cpp's converters do to names and weights, give the
// same logits as the folders they were made from. Then files that are no model.
#include "models/gguf_model.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <numbers>

#include "formats/gguf_testing.h"
#include "formats/safetensors.h"
#include "models/model_files.h"
#include "models/synth.h"
#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::GgufWriter;
using testing::TempFolder;
using testing::Tokens;

using Convert = std::function<Tensor(const Tensor&)>;

// How a converter names a tensor and what it does to it. '#' is a block's number.
struct Conversion {
  std::string name, stored;
  Convert convert = [](const Tensor& t) { return t; };
};

// numpy: w.reshape(heads, 2, d / 2, columns).swapaxes(1, 2).reshape(w.shape)
Convert paired_rows(std::int64_t heads) {
  return [heads](const Tensor& w) {
    const Tensor out = Tensor::empty(w.shape(), DType::kF32);
    const std::int64_t half = w.dim(0) / heads / 2, columns = w.numel() / w.dim(0);
    auto* to = out.mutable_data<float>();
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t j = 0; j < half; ++j) {
        for (std::int64_t i = 0; i < 2; ++i) {
          const float* row = w.data<float>() + ((h * 2 + i) * half + j) * columns;
          to = std::copy(row, row + columns, to);
        }
      }
    }
    return out;
  };
}

Tensor negative_exp(const Tensor& w) {
  const Tensor out = w.to_f32();
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    out.mutable_data<float>()[i] = -std::exp(out.data<float>()[i]);
  }
  return out;
}

Convert as_shape(const Shape& shape) {
  return [shape](const Tensor& w) { return w.reshape(shape); };
}

class GgufModel : public ::testing::Test {
 protected:
  // A folder with random float32 weights.
  std::filesystem::path make(const std::string& config) {
    SynthOptions options;
    options.output = folder_.path() / "model";
    options.dtype = DType::kF32;
    synthesize(Config::parse(config, "config.json"), options);
    return options.output;
  }

  // The folder's tensors, converted, after the metadata that `writer` has.
  std::filesystem::path convert(const std::filesystem::path& model, GgufWriter writer,
                                const std::vector<Conversion>& conversions) {
    const auto set = SafetensorsSet::open_folder(model);
    for (const auto& [name, entry] : set.entries()) {
      std::string pattern = name, block;
      for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (std::isdigit(static_cast<unsigned char>(pattern[i])) == 0 || pattern[i - 1] != '.') {
          continue;
        }
        block = pattern.substr(i, 1);
        pattern[i] = '#';
      }
      const auto found =
          std::find_if(conversions.begin(), conversions.end(),
                       [&, &p = pattern](const Conversion& c) { return c.name == p; });
      if (found == conversions.end()) {
        ADD_FAILURE() << "no conversion of " << name;
        continue;
      }
      std::string stored = found->stored;
      if (const auto mark = stored.find('#'); mark != std::string::npos) {
        stored.replace(mark, 1, block);
      }
      writer.tensor(stored, found->convert(set.tensor(name).to_f32()));
    }
    return folder_.write("model.gguf", writer.bytes());
  }

  void expect_same_logits(const std::filesystem::path& a, const std::filesystem::path& b,
                          float tolerance) {
    const Tokens tokens = testing::random_tokens(30, 40, 3);
    Model first = Model::load(Checkpoint::open(a), {});
    Model second = Model::load(Checkpoint::open(b), {});
    EXPECT_LE(testing::max_difference(testing::all_logits(first, tokens),
                                      testing::all_logits(second, tokens)),
              tolerance);
  }

  TempFolder folder_;
};

constexpr const char* kLlamaConfig = R"({"model_type": "llama", "hidden_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 40,
    "intermediate_size": 48, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "rope_theta": 50000.0, "tie_word_embeddings": false})";

std::string with_changes(const char* config, const std::string& changes) {
  auto merged = nlohmann::json::parse(config);
  merged.merge_patch(nlohmann::json::parse(changes));
  return merged.dump();
}

// The metadata of kLlamaConfig under an architecture's name.
GgufWriter llama_metadata(const std::string& architecture) {
  const std::string a = architecture + ".";
  GgufWriter writer;
  writer.set("general.architecture", architecture).set(a + "block_count", std::uint32_t{2});
  writer.set(a + "embedding_length", std::uint32_t{32});
  writer.set(a + "feed_forward_length", std::uint32_t{48});
  writer.set(a + "attention.head_count", std::uint32_t{4});
  writer.set(a + "attention.head_count_kv", std::uint32_t{2});
  writer.set(a + "attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set(a + "context_length", std::uint32_t{128}).set(a + "rope.freq_base", 50000.0f);
  return writer;
}

std::vector<Conversion> llama_conversions(const Convert& queries, const Convert& keys) {
  const std::string hf = "model.layers.#.", gguf = "blk.#.";
  const Convert same = [](const Tensor& t) { return t; };
  std::vector<Conversion> all = {
      {"model.embed_tokens.weight", "token_embd.weight"},
      {"model.norm.weight", "output_norm.weight"},
      {"lm_head.weight", "output.weight"},
      {hf + "input_layernorm.weight", gguf + "attn_norm.weight"},
      {hf + "post_attention_layernorm.weight", gguf + "ffn_norm.weight"}};
  const std::tuple<const char*, const char*, Convert> modules[] = {
      {"self_attn.q_proj", "attn_q", queries}, {"self_attn.k_proj", "attn_k", keys},
      {"self_attn.v_proj", "attn_v", same},    {"self_attn.o_proj", "attn_output", same},
      {"mlp.gate_proj", "ffn_gate", same},     {"mlp.up_proj", "ffn_up", same},
      {"mlp.down_proj", "ffn_down", same}};
  for (const auto& [name, stored, convert] : modules) {
    for (const char* part : {".weight", ".bias"}) {
      all.push_back({hf + name + part, gguf + stored + part, convert});
    }
  }
  return all;
}

TEST_F(GgufModel, Llama) {
  const auto model = make(with_changes(kLlamaConfig, R"({"attention_bias": true})"));
  const auto file = convert(model, llama_metadata("llama").set("llama.vocab_size", 40u),
                            llama_conversions(paired_rows(4), paired_rows(2)));
  expect_same_logits(model, file, 0.0f);
  // The same through a folder with nothing else in it.
  TempFolder other;
  std::filesystem::copy(file, other.path() / "x.gguf");
  expect_same_logits(model, other.path(), 0.0f);
  const Config config = Checkpoint::open(file).config();
  EXPECT_EQ(config.get_double("rms_norm_eps"), 1e-5);
  EXPECT_EQ(config.get_int("head_dim"), 8);
}

TEST_F(GgufModel, TiedLlamaWithRopeFactors) {
  const auto model = make(with_changes(kLlamaConfig, R"({"tie_word_embeddings": true,
      "head_dim": 16, "rope_scaling": {"rope_type": "llama3", "factor": 32.0,
      "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192}})"));
  // As convert_hf_to_gguf.py computes them.
  const Tensor factors = Tensor::zeros({8}, DType::kF32);
  for (int i = 0; i < 8; ++i) {
    const double wavelength = 2 * std::numbers::pi * std::pow(50000.0, i / 8.0);
    const double smooth = (8192.0 / wavelength - 1.0) / 3.0;
    factors.mutable_data<float>()[i] =
        static_cast<float>(wavelength < 2048   ? 1.0
                           : wavelength > 8192 ? 32.0
                                               : 1.0 / ((1.0 - smooth) / 32.0 + smooth));
  }
  const auto metadata = [] {
    return llama_metadata("llama")
        .set("llama.attention.key_length", 16u)
        .set("llama.attention.value_length", 16u)
        .set("llama.rope.dimension_count", 16u);
  };
  const auto conversions = llama_conversions(paired_rows(4), paired_rows(2));
  const auto file = convert(model, metadata().tensor("rope_freqs.weight", factors), conversions);
  expect_same_logits(model, file, 1e-6f);
  EXPECT_EQ(Checkpoint::open(file).config().child("rope_scaling").get_double("factor"), 32.0);

  factors.mutable_data<float>()[0] = 2.0f;
  convert(model, metadata().tensor("rope_freqs.weight", factors), conversions);
  expect_error(ErrorKind::kUnsupported, "divides frequency 0 by 2; Llama 3's rule gives 1",
               [&] { Checkpoint::open(file); });
}

TEST_F(GgufModel, MistralHasAWindow) {
  const auto model =
      make(with_changes(kLlamaConfig, R"({"model_type": "mistral", "sliding_window": 7})"));
  const auto file =
      convert(model, llama_metadata("llama").set("llama.attention.sliding_window", 7u),
              llama_conversions(paired_rows(4), paired_rows(2)));
  expect_same_logits(model, file, 0.0f);
}

TEST_F(GgufModel, Qwen2KeepsItsRows) {
  const auto model = make(with_changes(kLlamaConfig, R"({"model_type": "qwen2"})"));
  const Convert same = [](const Tensor& t) { return t; };
  expect_same_logits(model, convert(model, llama_metadata("qwen2"), llama_conversions(same, same)),
                     0.0f);
}

TEST_F(GgufModel, MiniCpmHasThreeScales) {
  const auto model = make(with_changes(kLlamaConfig, R"({"model_type": "minicpm",
      "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16})"));
  const auto file = convert(model,
                            llama_metadata("minicpm")
                                .set("minicpm.embedding_scale", 12.0f)
                                .set("minicpm.residual_scale", 1.4f / std::sqrt(2.0f))
                                .set("minicpm.logit_scale", 2.0f),
                            llama_conversions(paired_rows(4), paired_rows(2)));
  expect_same_logits(model, file, 1e-4f);
}

GgufWriter state_space_metadata(const std::string& architecture, std::uint32_t rank) {
  const std::string a = architecture + ".";
  GgufWriter writer;
  writer.set("general.architecture", architecture).set(a + "block_count", 2u);
  writer.set(a + "embedding_length", 32u).set(a + "feed_forward_length", 0u);
  writer.set(a + "attention.head_count", 0u).set(a + "context_length", 1048576u);
  writer.set(a + "attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set(a + "ssm.conv_kernel", 4u).set(a + "ssm.inner_size", 64u);
  writer.set(a + "ssm.state_size", 8u).set(a + "ssm.time_step_rank", rank);
  return writer;
}

std::vector<Conversion> state_space_conversions(std::int64_t channels) {
  const std::string hf = "backbone.layers.#.", gguf = "blk.#.";
  return {{"backbone.embeddings.weight", "token_embd.weight"},
          {"backbone.norm_f.weight", "output_norm.weight"},
          {hf + "norm.weight", gguf + "attn_norm.weight"},
          {hf + "mixer.in_proj.weight", gguf + "ssm_in.weight"},
          {hf + "mixer.conv1d.weight", gguf + "ssm_conv1d.weight", as_shape({channels, 4})},
          {hf + "mixer.conv1d.bias", gguf + "ssm_conv1d.bias"},
          {hf + "mixer.out_proj.weight", gguf + "ssm_out.weight"}};
}

TEST_F(GgufModel, Mamba) {
  const auto model = make(R"({"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2,
      "vocab_size": 40, "state_size": 8, "time_step_rank": 3, "conv_kernel": 4,
      "layer_norm_epsilon": 1e-5})");
  auto conversions = state_space_conversions(64);
  const std::string hf = "backbone.layers.#.mixer.", gguf = "blk.#.";
  conversions.push_back({hf + "x_proj.weight", gguf + "ssm_x.weight"});
  conversions.push_back({hf + "dt_proj.weight", gguf + "ssm_dt.weight"});
  conversions.push_back({hf + "dt_proj.bias", gguf + "ssm_dt.bias"});
  conversions.push_back({hf + "A_log", gguf + "ssm_a", negative_exp});
  conversions.push_back({hf + "D", gguf + "ssm_d"});
  const auto file = convert(model, state_space_metadata("mamba", 3), conversions);
  expect_same_logits(model, file, 1e-4f);

  convert(model, state_space_metadata("mamba", 3).set("mamba.ssm.dt_b_c_rms", true), conversions);
  expect_error(ErrorKind::kUnsupported, "mamba.ssm.dt_b_c_rms is true: Falcon Mamba's norms",
               [&] { Checkpoint::open(file); });
  conversions[conversions.size() - 2].convert = [](const Tensor& t) { return t; };  // not negative
  convert(model, state_space_metadata("mamba", 3), conversions);
  expect_error(ErrorKind::kCorrupt, "decays are negative",
               [&] { Model::load(Checkpoint::open(file), {}); });
}

TEST_F(GgufModel, Mamba2) {
  const auto model = make(R"({"model_type": "mamba2", "hidden_size": 32, "num_hidden_layers": 2,
      "vocab_size": 40, "state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 2,
      "conv_kernel": 4, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true})");
  auto conversions = state_space_conversions(64 + 2 * 2 * 8);
  const std::string hf = "backbone.layers.#.mixer.", gguf = "blk.#.";
  conversions.push_back({hf + "dt_bias", gguf + "ssm_dt.bias"});
  conversions.push_back({hf + "A_log", gguf + "ssm_a", [](const Tensor& t) {
                           return negative_exp(t).reshape({4, 1});
                         }});
  conversions.push_back({hf + "D", gguf + "ssm_d", as_shape({4, 1})});
  conversions.push_back({hf + "norm.weight", gguf + "ssm_norm.weight", as_shape({2, 32})});
  const auto file = convert(
      model, state_space_metadata("mamba2", 4).set("mamba2.ssm.group_count", 2u), conversions);
  expect_same_logits(model, file, 1e-4f);
}

Tensor transposed(const Tensor& w) {
  const std::int64_t rows = w.dim(0), columns = w.dim(1);
  const Tensor out = Tensor::empty({columns, rows}, DType::kF32);
  for (std::int64_t i = 0; i < w.numel(); ++i) {
    out.mutable_data<float>()[i % columns * rows + i / columns] = w.data<float>()[i];
  }
  return out;
}

TEST_F(GgufModel, Gpt2) {
  const auto model = make(R"({"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4,
      "n_inner": 48, "n_positions": 64, "vocab_size": 40, "layer_norm_epsilon": 1e-5})");
  const std::string hf = "transformer.h.#.", gguf = "blk.#.";
  const auto file = convert(model,
                            GgufWriter()
                                .set("general.architecture", "gpt2")
                                .set("gpt2.block_count", 2u)
                                .set("gpt2.embedding_length", 32u)
                                .set("gpt2.feed_forward_length", 48u)
                                .set("gpt2.attention.head_count", 4u)
                                .set("gpt2.context_length", 64u)
                                .set("gpt2.attention.layer_norm_epsilon", 1e-5f),
                            {{"transformer.wte.weight", "token_embd.weight"},
                             {"transformer.wpe.weight", "position_embd.weight"},
                             {"transformer.ln_f.weight", "output_norm.weight"},
                             {"transformer.ln_f.bias", "output_norm.bias"},
                             {hf + "ln_1.weight", gguf + "attn_norm.weight"},
                             {hf + "ln_1.bias", gguf + "attn_norm.bias"},
                             {hf + "ln_2.weight", gguf + "ffn_norm.weight"},
                             {hf + "ln_2.bias", gguf + "ffn_norm.bias"},
                             {hf + "attn.c_attn.weight", gguf + "attn_qkv.weight", transposed},
                             {hf + "attn.c_attn.bias", gguf + "attn_qkv.bias"},
                             {hf + "attn.c_proj.weight", gguf + "attn_output.weight", transposed},
                             {hf + "attn.c_proj.bias", gguf + "attn_output.bias"},
                             {hf + "mlp.c_fc.weight", gguf + "ffn_up.weight", transposed},
                             {hf + "mlp.c_fc.bias", gguf + "ffn_up.bias"},
                             {hf + "mlp.c_proj.weight", gguf + "ffn_down.weight", transposed},
                             {hf + "mlp.c_proj.bias", gguf + "ffn_down.bias"}});
  expect_same_logits(model, file, 0.0f);
}

// A GGUF file that is one in name, or of another model.
TEST_F(GgufModel, FilesThatAreNoModel) {
  const auto conversions = llama_conversions(paired_rows(4), paired_rows(2));
  const auto model = make(kLlamaConfig);
  const auto expect_refused = [&](ErrorKind kind, const std::string& text, GgufWriter writer) {
    const auto file = convert(model, std::move(writer), conversions);
    expect_error(kind, text, [&] { Model::load(Checkpoint::open(file), {}); });
  };
  expect_refused(ErrorKind::kUnsupported,
                 "general.architecture 'bert' is not supported in GGUF files (supported: llama",
                 llama_metadata("bert"));
  expect_refused(ErrorKind::kCorrupt, "'general.architecture' is missing", GgufWriter());
  expect_refused(ErrorKind::kCorrupt, "'llama.embedding_length' is missing",
                 GgufWriter().set("general.architecture", "llama"));
  expect_refused(ErrorKind::kUnsupported, "llama.expert_count is 8: a mixture of experts",
                 llama_metadata("llama").set("llama.expert_count", 8u));
  expect_refused(ErrorKind::kUnsupported, "llama.rope.dimension_count is 4: heads that are rotated",
                 llama_metadata("llama").set("llama.rope.dimension_count", 4u));
  expect_refused(ErrorKind::kUnsupported, "llama.rope.scaling.type is longrope",
                 llama_metadata("llama").set("llama.rope.scaling.type", "longrope"));
  expect_refused(
      ErrorKind::kCorrupt, "tensor 'blk.0.attn_sinks.weight' is not part of a llama",
      llama_metadata("llama").tensor("blk.0.attn_sinks.weight", Tensor::zeros({4}, DType::kF32)));
  expect_refused(ErrorKind::kCorrupt, "config.json implies",
                 llama_metadata("llama").set("llama.attention.key_length", 16u));
}

TEST_F(GgufModel, WhichFileIsTaken) {
  const auto model = make(kLlamaConfig);
  EXPECT_FALSE(find_gguf(model));
  EXPECT_FALSE(find_gguf(folder_.path() / "none.gguf"));
  TempFolder other;
  EXPECT_FALSE(find_gguf(other.path()));
  expect_error(ErrorKind::kNotFound, "config.json", [&] { Checkpoint::open(other.path()); });
  const auto first = other.write("a.gguf", GgufWriter().bytes());
  EXPECT_EQ(find_gguf(other.path()), first);
  EXPECT_EQ(find_gguf(first), first);
  const auto second = other.write("b.gguf", GgufWriter().bytes());
  expect_error(ErrorKind::kUnsupported, "has 2 GGUF files ('a.gguf', 'b.gguf', …)",
               [&] { find_gguf(other.path()); });
  EXPECT_EQ(find_gguf(second), second);
  other.write("pytorch_model.bin", "");
  EXPECT_FALSE(find_gguf(other.path()));
  expect_error(ErrorKind::kInvalidArgument, "name the folder that it is in",
               [&] { Checkpoint::open(other.path() / "pytorch_model.bin"); });
  expect_error(ErrorKind::kNotFound, "not a model folder and not a GGUF file",
               [&] { Checkpoint::open(other.path() / "none"); });
}

}  // namespace
}  // namespace aquatint
