#include "models/gpt2.h"

#include <cmath>

#include "layers/attention_mixer.h"
#include "models/config_checks.h"

namespace aquatint {
namespace {

// Before the names of all tensors but the head; files of the first GPT-2 leave it out.
const std::string kPrefix = "transformer.";

// The size under a key of GPT-2 or, else, under the name other models have for it.
std::int64_t size_of(const Config& config, const char* key, const char* alias,
                     std::int64_t fallback) {
  return size_key(config, config.has(key) || !config.has(alias) ? key : alias, fallback);
}

class Gpt2 : public Architecture {
 public:
  explicit Gpt2(const Config& config);

  const char* name() const override { return "gpt2"; }
  bool runs_on_gpu() const override { return false; }
  bool ignores(const std::string& tensor_name) const override;
  std::int64_t mixer_macs_per_token() const override;
  std::int64_t state_bytes(std::int64_t tokens, kernels::KvType kv_cache) const override;
  std::unique_ptr<InputLayer> load_input(const WeightSource& source,
                                         const LoadOptions& options) const override;
  std::unique_ptr<Block> load_block(std::int64_t index, const WeightSource& source,
                                    const LoadOptions& options) const override;
  std::unique_ptr<OutputLayer> load_output(const WeightSource& source,
                                           const LoadOptions& options) const override;

 private:
  void declare_tensors(bool tied);
  TensorSpec& declare_prefixed(const std::string& tensor_name, Shape shape, Role role, int block);
  void declare_norm(const std::string& module, int block);
  void declare_conv1d(const std::string& module, std::int64_t rows, std::int64_t columns, Role role,
                      int block);
  LayerNorm load_norm(const WeightSource& source, const LoadOptions& options,
                      const std::string& module) const;

  AttentionConfig attention_;
  bool scale_by_block_ = false;
  kernels::Activation activation_ = kernels::Activation::kGeluTanh;
  std::int64_t inner_ = 0;
  float norm_eps_ = 1e-5f;
};

Gpt2::Gpt2(const Config& config) {
  if (config.get_bool("add_cross_attention", false)) {
    config.raise_unsupported("add_cross_attention", "cross attention is not supported");
  }
  const std::string positions = config.get_string("position_embedding_type", "learned");
  if (positions != "learned" && positions != "absolute") {
    config.raise_unsupported("position_embedding_type", "learned positions are expected");
  }
  hidden_size_ = size_of(config, "n_embd", "hidden_size", 768);
  blocks_ = blocks_key(config, config.has("n_layer") ? "n_layer" : "num_hidden_layers", 12);
  vocab_size_ = size_key(config, "vocab_size", 50257);
  max_positions_ = size_of(config, "n_positions", "n_ctx", 1024);
  context_length_ = max_positions_;
  inner_ = size_key(config, "n_inner", 4 * hidden_size_);
  activation_ = transformers_activation_key(config, "activation_function", "gelu_new");
  norm_eps_ = static_cast<float>(bounded(config, "layer_norm_epsilon", 1e-5, 0.0, 1.0));

  AttentionConfig& a = attention_;
  a.heads = size_of(config, "n_head", "num_attention_heads", 12);
  require(hidden_size_ % a.heads == 0, config, "n_embd is not a multiple of n_head", hidden_size_,
          a.heads);
  a.kv_heads = a.heads;
  a.head_dim = hidden_size_ / a.heads;
  const bool scaled = config.get_bool("scale_attn_weights", true);
  a.scale = scaled ? 1.0f / std::sqrt(static_cast<float>(a.head_dim)) : 1.0f;
  scale_by_block_ = config.get_bool("scale_attn_by_inverse_layer_idx", false);
  declare_tensors(config.get_bool("tie_word_embeddings", true));
}

TensorSpec& Gpt2::declare_prefixed(const std::string& tensor_name, Shape shape, Role role,
                                   int block) {
  TensorSpec& spec = declare(kPrefix + tensor_name, shape, role, block);
  spec.sources.push_back({tensor_name, shape});
  return spec;
}

void Gpt2::declare_norm(const std::string& module, int block) {
  declare_prefixed(module + ".weight", {hidden_size_}, Role::kNorm, block);
  declare_prefixed(module + ".bias", {hidden_size_}, Role::kNorm, block);
}

// A linear module whose weight is [inputs, outputs] in files.
void Gpt2::declare_conv1d(const std::string& module, std::int64_t rows, std::int64_t columns,
                          Role role, int block) {
  TensorSpec& weight = declare_prefixed(module + ".weight", {rows, columns}, role, block);
  weight.transposed = true;
  for (TensorSource& source : weight.sources) source.shape = weight.stored_shape();
  declare_prefixed(module + ".bias", {rows}, Role::kBias, block);
}

void Gpt2::declare_tensors(bool tied) {
  const std::int64_t D = hidden_size_;
  declare_prefixed("wte.weight", {vocab_size_, D}, Role::kEmbedding, -1);
  declare_prefixed("wpe.weight", {max_positions_, D}, Role::kPosition, -1);
  for (int i = 0; i < blocks_; ++i) {
    const std::string prefix = fmt::format("h.{}", i);
    declare_norm(prefix + ".ln_1", i);
    declare_conv1d(prefix + ".attn.c_attn", 3 * D, D, Role::kMixerIn, i);
    declare_conv1d(prefix + ".attn.c_proj", D, D, Role::kMixerOut, i);
    declare_norm(prefix + ".ln_2", i);
    declare_conv1d(prefix + ".mlp.c_fc", inner_, D, Role::kMlpIn, i);
    declare_conv1d(prefix + ".mlp.c_proj", D, inner_, Role::kMlpOut, i);
    const std::string block = kPrefix + prefix;
    share_input(block + ".ln_1.weight", {block + ".attn.c_attn"});
    share_input(block + ".ln_2.weight", {block + ".mlp.c_fc"});
  }
  declare_norm("ln_f", -1);
  TensorSpec& head = declare("lm_head.weight", {vocab_size_, D}, Role::kHead, -1);
  head.tied = tied;
  share_input(kPrefix + "ln_f.weight", {"lm_head"});
}

// The causal masks that older files hold beside the biases: h.N.attn.bias is one of them.
bool Gpt2::ignores(const std::string& tensor_name) const {
  return tensor_name.ends_with(".attn.bias") || tensor_name.ends_with(".attn.masked_bias");
}

std::int64_t Gpt2::mixer_macs_per_token() const {
  // Scores and weighted values, in the middle of the longest text.
  return 2 * (max_positions_ / 2) * hidden_size_ * blocks_;
}

std::int64_t Gpt2::state_bytes(std::int64_t tokens, kernels::KvType kv_cache) const {
  return tokens * blocks_ *
         kernels::kv_position_bytes(kv_cache, attention_.kv_heads, attention_.head_dim);
}

LayerNorm Gpt2::load_norm(const WeightSource& source, const LoadOptions& options,
                          const std::string& module) const {
  const auto vector = [&](const char* part) {
    return source.tensor(kPrefix + module + part).to_f32().on(options.stream());
  };
  return {vector(".weight"), vector(".bias"), norm_eps_};
}

std::unique_ptr<InputLayer> Gpt2::load_input(const WeightSource& source,
                                             const LoadOptions& options) const {
  return std::make_unique<PositionedEmbedding>(
      TokenEmbedding(source.embedding(kPrefix + "wte"), options.stream()),
      source.tensor(kPrefix + "wpe.weight"));
}

std::unique_ptr<OutputLayer> Gpt2::load_output(const WeightSource& source,
                                               const LoadOptions& options) const {
  return std::make_unique<NormedHead>(load_norm(source, options, "ln_f"),
                                      Linear(source.linear("lm_head"), options));
}

std::unique_ptr<Block> Gpt2::load_block(std::int64_t index, const WeightSource& source,
                                        const LoadOptions& options) const {
  const std::string prefix = fmt::format("h.{}", index);
  const auto linear = [&](const char* module) {
    return Linear(source.linear(kPrefix + prefix + module), options);
  };
  AttentionConfig attention = attention_.with(options);
  if (scale_by_block_) attention.scale /= static_cast<float>(index + 1);
  AttentionWeights weights;
  weights.module = kPrefix + prefix + ".attn";
  weights.qkv = linear(".attn.c_attn");
  weights.o = linear(".attn.c_proj");
  PlainMlp mlp;
  mlp.activation = activation_;
  mlp.up = linear(".mlp.c_fc");
  mlp.down = linear(".mlp.c_proj");
  return std::make_unique<PreNormBlock>(
      kPrefix + prefix, load_norm(source, options, prefix + ".ln_1"),
      std::make_unique<AttentionMixer>(std::move(attention), std::move(weights), options.stream()),
      load_norm(source, options, prefix + ".ln_2"), std::move(mlp));
}

}  // namespace

bool matches_gpt2(const Config& config) {
  return config.get_string("model_type", "") == "gpt2";
}

std::unique_ptr<Architecture> make_gpt2(const Config& config) {
  return std::make_unique<Gpt2>(config);
}

}  // namespace aquatint
