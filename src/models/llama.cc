#include "models/llama.h"

#include <algorithm>
#include <cmath>

#include "layers/attention_mixer.h"
#include "models/config_checks.h"
#include "models/load_parts.h"
#include "models/rope_scaling.h"

namespace aquatint {
namespace {

// What sets the members of the family apart.
struct Family {
  enum class Bias { kNone, kByKey, kQueryKeyValue };  // kByKey: attention_bias, of o_proj too
  enum class Window { kNone, kEveryBlock, kLateBlocks };
  const char* name;
  Bias bias;
  bool mlp_bias_key;
  Window window;
  std::int64_t default_window;
  bool scaled;  // scale_emb, scale_depth, dim_model_base
  bool tied;    // when tie_word_embeddings is absent
};

constexpr Family kLlama = {"llama", Family::Bias::kByKey, true, Family::Window::kNone, 0, false,
                           false};
constexpr Family kMistral = {
    "mistral", Family::Bias::kNone, false, Family::Window::kEveryBlock, 4096, false, false};
constexpr Family kQwen2 = {
    "qwen2", Family::Bias::kQueryKeyValue, false, Family::Window::kLateBlocks, 4096, false, false};
constexpr Family kMiniCpm = {"minicpm", Family::Bias::kByKey, false, Family::Window::kNone, 0, true,
                             true};

const Family& family_of(const Config& config) {
  if (matches_mistral(config)) return kMistral;
  if (matches_qwen2(config)) return kQwen2;
  if (matches_minicpm(config)) return kMiniCpm;
  return kLlama;
}

class Llama : public Architecture {
 public:
  explicit Llama(const Config& config);

  const char* name() const override { return family_.name; }
  bool runs_on_gpu() const override { return !family_.scaled; }
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
  void refuse_other_models(const Config& config) const;
  void read_attention(const Config& config);
  void read_windows(const Config& config);
  void read_scales(const Config& config);
  void declare_tensors(bool tied);
  void declare_linear(const std::string& module, std::int64_t rows, std::int64_t columns, Role role,
                      int block, bool bias);

  const Family& family_;
  AttentionConfig attention_;
  std::vector<std::int64_t> windows_;  // by block; 0: none
  bool qkv_bias_ = false, output_bias_ = false, mlp_bias_ = false;
  kernels::Activation mlp_activation_ = kernels::Activation::kSilu;
  std::int64_t intermediate_ = 0;
  float norm_eps_ = 1e-6f;
  float embedding_scale_ = 1, residual_scale_ = 1, head_scale_ = 1;
};

Llama::Llama(const Config& config) : family_(family_of(config)) {
  refuse_other_models(config);
  hidden_size_ = size_key(config, "hidden_size");
  blocks_ = blocks_key(config, "num_hidden_layers");
  vocab_size_ = size_key(config, "vocab_size");
  intermediate_ = size_key(config, "intermediate_size");
  context_length_ = size_key(config, "max_position_embeddings", 2048);
  norm_eps_ = static_cast<float>(bounded(config, "rms_norm_eps", 1e-6, 0.0, 1.0));
  mlp_activation_ = transformers_activation_key(config, "hidden_act", "silu");
  mlp_bias_ = family_.mlp_bias_key && config.get_bool("mlp_bias", false);
  read_attention(config);
  read_windows(config);
  if (family_.scaled) read_scales(config);
  declare_tensors(config.get_bool("tie_word_embeddings", family_.tied));
}

// Keys that turn a configuration of this family into another model than the one we compute.
void Llama::refuse_other_models(const Config& config) const {
  for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts"}) {
    if (config.get_int(key, 0) > 0) {
      config.raise_unsupported(key, "a mixture of experts is not supported");
    }
  }
  constexpr std::pair<const char*, const char*> kKeys[] = {
      {"q_lora_rank", "multi-head latent attention (MiniCPM3, DeepSeek) is not supported"},
      {"kv_lora_rank", "multi-head latent attention (MiniCPM3, DeepSeek) is not supported"},
      {"sparse_config", "sparse attention (MiniCPM4) is not supported"},
      {"attention_chunk_size", "attention in chunks (Llama 4) is not supported"},
      {"no_rope_layers", "layers without rotary positions are not supported"},
      {"no_rope_layer_interval", "layers without rotary positions are not supported"},
      {"attn_logit_softcapping", "capped attention scores are not supported"},
      {"final_logit_softcapping", "capped logits are not supported"},
      {"clip_qkv", "clipped queries, keys and values are not supported"},
  };
  for (const auto& [key, reason] : kKeys) {
    if (config.has(key)) config.raise_unsupported(key, reason);
  }
  for (const char* key : {"use_qk_norm", "qk_norm", "qk_layernorm"}) {
    if (config.get_bool(key, false)) {
      config.raise_unsupported(key, "normalized queries and keys (Qwen3) are not supported");
    }
  }
  for (const std::string& name : config.get_strings("architectures")) {
    if (name.find("ForCausalLM") == std::string::npos) {
      config.raise_unsupported("architectures", "a model with a language model head is expected");
    }
  }
}

void Llama::read_attention(const Config& config) {
  AttentionConfig& a = attention_;
  a.heads = size_key(config, "num_attention_heads");
  a.kv_heads = size_key(config, "num_key_value_heads", a.heads);
  require(a.heads % a.kv_heads == 0, config,
          "num_attention_heads is not a multiple of num_key_value_heads", a.heads, a.kv_heads);
  if (config.has("head_dim")) {
    a.head_dim = size_key(config, "head_dim");
  } else {
    require(hidden_size_ % a.heads == 0, config,
            "hidden_size is not a multiple of num_attention_heads", hidden_size_, a.heads);
    a.head_dim = hidden_size_ / a.heads;
  }
  require(a.heads * a.head_dim <= kLargestSize, config, "the heads are too large", a.heads,
          a.head_dim);
  const bool by_key =
      family_.bias == Family::Bias::kByKey && config.get_bool("attention_bias", false);
  qkv_bias_ = by_key || family_.bias == Family::Bias::kQueryKeyValue;
  output_bias_ = by_key;
  RopeSettings rope = read_rope(config, a.head_dim, context_length_);
  a.inv_freq = std::move(rope.inv_freq);
  a.dynamic = rope.dynamic;
  // Both queries and keys carry the factor, so scores carry its square.
  a.scale =
      rope.attention_factor * rope.attention_factor / std::sqrt(static_cast<float>(a.head_dim));
}

// Which blocks see a window of the latest keys only.
void Llama::read_windows(const Config& config) {
  windows_.assign(static_cast<std::size_t>(blocks_), 0);
  std::int64_t window = 0, first = 0;
  if (family_.window == Family::Window::kEveryBlock ||
      (family_.window == Family::Window::kLateBlocks &&
       config.get_bool("use_sliding_window", false))) {
    // A null says that there is none; an absent key does not.
    const auto keys = config.keys();
    const bool absent = std::find(keys.begin(), keys.end(), "sliding_window") == keys.end();
    window = config.find_int("sliding_window").value_or(absent ? family_.default_window : 0);
    require(window >= 0 && window <= kLargestSize, config, "sliding_window is out of range", window,
            kLargestSize);
  }
  if (family_.window == Family::Window::kLateBlocks) {
    first = config.get_int("max_window_layers", 28);
    require(first >= 0, config, "max_window_layers is negative", first, 0);
  }
  for (std::int64_t i = first; i < blocks_; ++i) windows_[static_cast<std::size_t>(i)] = window;

  const auto types = config.get_strings("layer_types");
  if (types.empty()) return;
  require(static_cast<std::int64_t>(types.size()) == blocks_, config,
          "layer_types has not one entry for each block", static_cast<std::int64_t>(types.size()),
          blocks_);
  for (std::size_t i = 0; i < types.size(); ++i) {
    const bool sliding = types[i] == "sliding_attention";
    if (!sliding && types[i] != "full_attention") {
      config.raise_unsupported("layer_types", "layers of another kind are not supported");
    }
    if (family_.window == Family::Window::kLateBlocks) {
      windows_[i] = sliding ? window : 0;
    } else if (sliding != (windows_[i] > 0)) {
      config.raise_unsupported("layer_types", "it contradicts sliding_window");
    }
  }
}

// muP: what enters and leaves the residual stream is scaled, so that models of any width train
// alike.
void Llama::read_scales(const Config& config) {
  if (config.has("rope_scaling")) {
    config.raise_unsupported("rope_scaling", "MiniCPM with scaled rotary positions (MiniCPM4)");
  }
  require(attention_.heads * attention_.head_dim == hidden_size_, config,
          "head_dim * num_attention_heads is not hidden_size",
          attention_.heads * attention_.head_dim, hidden_size_);
  const auto number = [&](const char* key) { return bounded(config, key, 1.0, 1e-6, 1e6); };
  embedding_scale_ = static_cast<float>(number("scale_emb"));
  residual_scale_ =
      static_cast<float>(number("scale_depth") / std::sqrt(static_cast<double>(blocks_)));
  head_scale_ = static_cast<float>(number("dim_model_base") / static_cast<double>(hidden_size_));
}

void Llama::declare_linear(const std::string& module, std::int64_t rows, std::int64_t columns,
                           Role role, int block, bool bias) {
  declare(module + ".weight", {rows, columns}, role, block);
  if (bias) declare(module + ".bias", {rows}, Role::kBias, block);
}

void Llama::declare_tensors(bool tied) {
  const std::int64_t D = hidden_size_, I = intermediate_;
  const std::int64_t q = attention_.heads * attention_.head_dim;
  const std::int64_t kv = attention_.kv_heads * attention_.head_dim;
  declare("model.embed_tokens.weight", {vocab_size_, D}, Role::kEmbedding, -1);
  for (int i = 0; i < blocks_; ++i) {
    const std::string prefix = fmt::format("model.layers.{}", i);
    const std::string attn = prefix + ".self_attn", mlp = prefix + ".mlp";
    declare(prefix + ".input_layernorm.weight", {D}, Role::kNorm, i);
    declare_linear(attn + ".q_proj", q, D, Role::kMixerIn, i, qkv_bias_);
    declare_linear(attn + ".k_proj", kv, D, Role::kMixerIn, i, qkv_bias_);
    declare_linear(attn + ".v_proj", kv, D, Role::kMixerIn, i, qkv_bias_);
    declare_linear(attn + ".o_proj", D, q, Role::kMixerOut, i, output_bias_);
    declare(prefix + ".post_attention_layernorm.weight", {D}, Role::kNorm, i);
    declare_linear(mlp + ".gate_proj", I, D, Role::kMlpIn, i, mlp_bias_);
    declare_linear(mlp + ".up_proj", I, D, Role::kMlpIn, i, mlp_bias_);
    declare_linear(mlp + ".down_proj", D, I, Role::kMlpOut, i, mlp_bias_);
    share_input(prefix + ".input_layernorm.weight",
                {attn + ".q_proj", attn + ".k_proj", attn + ".v_proj"});
    // Else several heads of o_proj's input have the same factor.
    if (q == kv) share_input(attn + ".v_proj.weight", {attn + ".o_proj"});
    share_input(prefix + ".post_attention_layernorm.weight",
                {mlp + ".gate_proj", mlp + ".up_proj"});
    share_input(mlp + ".up_proj.weight", {mlp + ".down_proj"});
  }
  declare("model.norm.weight", {D}, Role::kNorm, -1);
  TensorSpec& head = declare("lm_head.weight", {vocab_size_, D}, Role::kHead, -1);
  head.tied = tied;
  share_input("model.norm.weight", {"lm_head"});
}

// Files from before 2023-10 hold the rotary frequencies, which follow from the configuration.
bool Llama::ignores(const std::string& tensor_name) const {
  return tensor_name.ends_with(".rotary_emb.inv_freq");
}

std::int64_t Llama::mixer_macs_per_token() const {
  // Scores and weighted values, in the middle of a text as long as the model was trained for.
  std::int64_t keys = 0;
  for (const std::int64_t window : windows_) {
    const std::int64_t half = std::max<std::int64_t>(1, context_length_ / 2);
    keys += window > 0 ? std::min(window, half) : half;
  }
  return 2 * keys * attention_.heads * attention_.head_dim;
}

std::int64_t Llama::state_bytes(std::int64_t tokens, kernels::KvType kv_cache) const {
  return tokens * blocks_ *
         kernels::kv_position_bytes(kv_cache, attention_.kv_heads, attention_.head_dim);
}

std::unique_ptr<InputLayer> Llama::load_input(const WeightSource& source,
                                              const LoadOptions& options) const {
  return std::make_unique<TokenEmbedding>(source.embedding("model.embed_tokens"), options.stream(),
                                          embedding_scale_);
}

std::unique_ptr<OutputLayer> Llama::load_output(const WeightSource& source,
                                                const LoadOptions& options) const {
  return std::make_unique<NormedHead>(
      load_rms_norm(source, options, "model.norm.weight", norm_eps_),
      Linear(source.linear("lm_head"), options), head_scale_);
}

std::unique_ptr<Block> Llama::load_block(std::int64_t index, const WeightSource& source,
                                         const LoadOptions& options) const {
  const std::string prefix = fmt::format("model.layers.{}", index);
  const auto linear = [&](const char* module) {
    return Linear(source.linear(prefix + module), options);
  };
  AttentionConfig attention = attention_.with(options);
  attention.window = windows_[static_cast<std::size_t>(index)];
  auto mixer = std::make_unique<AttentionMixer>(
      std::move(attention),
      AttentionWeights{prefix + ".self_attn", linear(".self_attn.q_proj"),
                       linear(".self_attn.k_proj"), linear(".self_attn.v_proj"),
                       linear(".self_attn.o_proj")},
      options.stream());
  return std::make_unique<PreNormBlock>(
      prefix, load_rms_norm(source, options, prefix + ".input_layernorm.weight", norm_eps_),
      std::move(mixer),
      load_rms_norm(source, options, prefix + ".post_attention_layernorm.weight", norm_eps_),
      load_gated_mlp(source, options, prefix + ".mlp", mlp_activation_), residual_scale_);
}

bool is_type(const Config& config, const char* type) {
  return config.get_string("model_type", "") == type;
}

}  // namespace

bool matches_llama(const Config& config) {
  return is_type(config, "llama");
}

bool matches_mistral(const Config& config) {
  return is_type(config, "mistral");
}

bool matches_qwen2(const Config& config) {
  return is_type(config, "qwen2");
}

// The first MiniCPM files have no model_type.
bool matches_minicpm(const Config& config) {
  if (config.has("model_type")) return is_type(config, "minicpm");
  const auto names = config.get_strings("architectures");
  return !names.empty() && names.front() == "MiniCPMForCausalLM";
}

std::unique_ptr<Architecture> make_llama(const Config& config) {
  return std::make_unique<Llama>(config);
}

}  // namespace aquatint
