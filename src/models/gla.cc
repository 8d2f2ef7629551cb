#include "models/gla.h"

#include <cmath>
#include <map>

#include "kernels/rope/rope.h"
#include "layers/attention_mixer.h"
#include "layers/gla_mixer.h"
#include "models/config_checks.h"
#include "models/load_parts.h"

namespace aquatint {
namespace {

// Feed-forward width when the configuration has none: two thirds of hidden * ratio, in double
// precision and truncated as Python does, rounded up to 256.
std::int64_t default_intermediate(std::int64_t hidden, double ratio) {
  const auto raw = static_cast<std::int64_t>(static_cast<double>(hidden) * ratio * 2.0 / 3.0);
  return (raw + 255) / 256 * 256;
}

// A block of standard attention in a hybrid model.
struct HybridAttention {
  AttentionConfig attention;
  bool qkv_bias = false;
};

class Gla : public Architecture {
 public:
  explicit Gla(const Config& config);

  const char* name() const override { return "gla"; }
  bool runs_on_gpu() const override { return true; }
  std::int64_t mixer_macs_per_token() const override;
  std::int64_t state_bytes(std::int64_t tokens, kernels::KvType kv_cache) const override;
  std::unique_ptr<InputLayer> load_input(const WeightSource& source,
                                         const LoadOptions& options) const override;
  std::unique_ptr<Block> load_block(std::int64_t index, const WeightSource& source,
                                    const LoadOptions& options) const override;
  std::unique_ptr<OutputLayer> load_output(const WeightSource& source,
                                           const LoadOptions& options) const override;

 private:
  void read_mixer(const Config& config);
  void read_hybrid(const Config& config);
  void declare_tensors(bool tied);
  void declare_gla_mixer(const std::string& prefix, int block);
  void declare_attention(const std::string& prefix, int block, const HybridAttention& hybrid);
  void declare_mlp(const std::string& prefix, int block);
  std::unique_ptr<Mixer> load_mixer(const std::string& prefix, std::int64_t index,
                                    const WeightSource& source, const LoadOptions& options) const;

  GlaConfig mixer_;
  std::map<std::int64_t, HybridAttention> hybrid_;  // by block
  kernels::Activation mlp_activation_ = kernels::Activation::kSilu;
  std::int64_t intermediate_ = 0;
  float norm_eps_ = 1e-6f;
  bool head_norm_affine_ = true;
  std::string head_norm_name_;  // g_norm or g_norm_swish_gate
};

Gla::Gla(const Config& config) {
  if (config.has("attnres_block_size")) {
    raise(ErrorKind::kUnsupported,
          "'{}': attention residuals (attnres_block_size) are not supported", config.origin());
  }
  hidden_size_ = size_key(config, "hidden_size", 2048);
  blocks_ = blocks_key(config, "num_hidden_layers", 24);
  vocab_size_ = size_key(config, "vocab_size", 32000);
  context_length_ = size_key(config, "max_position_embeddings", 2048);
  norm_eps_ = static_cast<float>(
      bounded(config, config.has("norm_eps") ? "norm_eps" : "rms_norm_eps", 1e-6, 0.0, 1.0));
  head_norm_affine_ = config.get_bool("elementwise_affine", true);
  mlp_activation_ = activation_key(config, "hidden_act", "swish");
  intermediate_ = config.find_int("intermediate_size")
                      .value_or(default_intermediate(
                          hidden_size_, bounded(config, "hidden_ratio", 4.0, 0.0, 1024.0)));
  require(intermediate_ >= 1 && intermediate_ <= kLargestSize, config,
          "intermediate_size is out of range", intermediate_, kLargestSize);
  read_mixer(config);
  read_hybrid(config);
  declare_tensors(config.get_bool("tie_word_embeddings", false));
}

void Gla::read_mixer(const Config& config) {
  const auto fraction = [&](const char* key, double fallback) {
    return static_cast<std::int64_t>(static_cast<double>(hidden_size_) *
                                     bounded(config, key, fallback, 0.0, 1024.0));
  };
  const std::int64_t key_dim = fraction("expand_k", 0.5);
  const std::int64_t value_dim = fraction("expand_v", 1.0);
  mixer_.hidden = hidden_size_;
  mixer_.heads = config.get_int("num_heads", 4);
  mixer_.kv_heads = config.find_int("num_kv_heads").value_or(mixer_.heads);
  require(mixer_.heads >= 1 && mixer_.kv_heads >= 1, config, "num_heads or num_kv_heads below 1",
          mixer_.heads, mixer_.kv_heads);
  require(mixer_.heads % mixer_.kv_heads == 0, config,
          "num_heads is not a multiple of num_kv_heads", mixer_.heads, mixer_.kv_heads);
  require(key_dim >= 1 && key_dim % mixer_.heads == 0, config,
          "hidden_size * expand_k is not a multiple of num_heads", key_dim, mixer_.heads);
  require(value_dim >= 1 && value_dim % mixer_.heads == 0, config,
          "hidden_size * expand_v is not a multiple of num_heads", value_dim, mixer_.heads);
  mixer_.dk = key_dim / mixer_.heads;
  mixer_.dv = value_dim / mixer_.heads;
  if (const auto clamp = config.find_double("clamp_min")) {
    mixer_.clamp_min = static_cast<float>(*clamp);
  }
  if (config.has("feature_map")) {
    mixer_.feature_map = activation_key(config, "feature_map", "");
  }
  mixer_.output_gate = config.get_bool("use_output_gate", true);
  mixer_.gate_activation = mlp_activation_;
  if (config.get_bool("use_short_conv", false)) {
    mixer_.conv_size = config.get_int("conv_size", 4);
    require(mixer_.conv_size >= 1 && mixer_.conv_size <= 8, config, "conv_size is outside 1..8",
            mixer_.conv_size, 8);
    if (config.get_bool("share_conv_kernel", false)) {
      raise(ErrorKind::kUnsupported, "'{}': share_conv_kernel is not supported", config.origin());
    }
  }
  // The fused module exists for the spelling "swish" alone, not for "silu".
  const bool fused_norm = config.get_bool("fuse_norm", true) && mixer_.output_gate &&
                          config.get_string("hidden_act", "swish") == "swish";
  head_norm_name_ = fused_norm ? "g_norm_swish_gate" : "g_norm";
}

void Gla::read_hybrid(const Config& config) {
  for (const Config& entry : config.children("attn")) {
    HybridAttention hybrid;
    AttentionConfig& a = hybrid.attention;
    a.heads = entry.get_int("num_heads");
    a.kv_heads = entry.find_int("num_kv_heads").value_or(a.heads);
    require(a.heads >= 1 && hidden_size_ % a.heads == 0, config,
            "hidden_size is not a multiple of attn.num_heads", hidden_size_, a.heads);
    require(a.kv_heads >= 1 && a.heads % a.kv_heads == 0, config,
            "attn.num_heads is not a multiple of attn.num_kv_heads", a.heads, a.kv_heads);
    a.head_dim = hidden_size_ / a.heads;
    require(a.head_dim % 2 == 0, config, "attn head size is odd", a.head_dim, 2);
    if (entry.has("window_size")) {
      a.window = entry.get_int("window_size");
      require(a.window >= 1, config, "attn.window_size is below 1", a.window, 1);
    }
    const double theta = entry.get_double("rope_theta", 1e4);
    if (!(theta > 0 && std::isfinite(theta))) {
      raise(ErrorKind::kCorrupt, "'{}': attn.rope_theta is {}", config.origin(), theta);
    }
    a.inv_freq = kernels::rope_inverse_frequencies(a.head_dim, theta);
    hybrid.qkv_bias = entry.get_bool("qkv_bias", false);
    for (const std::int64_t layer : entry.get_ints("layers")) {
      require(layer >= 0 && layer < blocks_, config,
              "attn.layers names a layer that does not exist", layer, blocks_);
      hybrid_[layer] = hybrid;
    }
  }
}

void Gla::declare_tensors(bool tied) {
  const std::int64_t D = hidden_size_;
  declare("model.embeddings.weight", {vocab_size_, D}, Role::kEmbedding, -1);
  for (int i = 0; i < blocks_; ++i) {
    const std::string prefix = fmt::format("model.layers.{}", i);
    declare(prefix + ".attn_norm.weight", {D}, Role::kNorm, i);
    const std::string attn = prefix + ".attn", mlp = prefix + ".mlp";
    std::vector<std::string> mixer_in = {attn + ".q_proj", attn + ".k_proj", attn + ".v_proj"};
    const auto hybrid = hybrid_.find(i);
    if (hybrid != hybrid_.end()) {
      declare_attention(attn, i, hybrid->second);
    } else {
      declare_gla_mixer(attn, i);
      if (mixer_.output_gate) mixer_in.push_back(attn + ".g_proj");
      mixer_in.push_back(attn + ".gk_proj.0");
    }
    share_input(prefix + ".attn_norm.weight", mixer_in);
    declare(prefix + ".mlp_norm.weight", {D}, Role::kNorm, i);
    declare_mlp(mlp, i);
    share_input(prefix + ".mlp_norm.weight", {mlp + ".gate_proj", mlp + ".up_proj"});
    share_input(mlp + ".up_proj.weight", {mlp + ".down_proj"});
  }
  declare("model.norm.weight", {D}, Role::kNorm, -1);
  TensorSpec& head = declare("lm_head.weight", {vocab_size_, D}, Role::kHead, -1);
  head.tied = tied;
  share_input("model.norm.weight", {"lm_head"});
}

void Gla::declare_gla_mixer(const std::string& prefix, int block) {
  const std::int64_t D = hidden_size_;
  const GlaConfig& m = mixer_;
  const std::int64_t q_rows = m.heads * m.dk, k_rows = m.kv_heads * m.dk;
  const std::int64_t v_rows = m.kv_heads * m.dv, o_columns = m.heads * m.dv;
  declare(prefix + ".q_proj.weight", {q_rows, D}, Role::kMixerIn, block);
  declare(prefix + ".k_proj.weight", {k_rows, D}, Role::kMixerIn, block);
  declare(prefix + ".v_proj.weight", {v_rows, D}, Role::kMixerIn, block);
  if (m.output_gate) declare(prefix + ".g_proj.weight", {o_columns, D}, Role::kMixerGate, block);
  declare(prefix + ".gk_proj.0.weight", {GlaConfig::kGateRank, D}, Role::kLowRankGate, block);
  declare(prefix + ".gk_proj.1.weight", {k_rows, GlaConfig::kGateRank}, Role::kLowRankGate, block);
  declare(prefix + ".gk_proj.1.bias", {k_rows}, Role::kBias, block);
  if (m.conv_size > 0) {
    declare(prefix + ".q_conv1d.weight", {q_rows, 1, m.conv_size}, Role::kConv, block);
    declare(prefix + ".k_conv1d.weight", {k_rows, 1, m.conv_size}, Role::kConv, block);
    declare(prefix + ".v_conv1d.weight", {v_rows, 1, m.conv_size}, Role::kConv, block);
  }
  if (head_norm_affine_) {
    TensorSpec& norm =
        declare(prefix + "." + head_norm_name_ + ".weight", {m.dv}, Role::kNorm, block);
    // The name follows options that change no number, so a checkpoint with the other one is as
    // good.
    for (const char* other : {".g_norm.weight", ".g_norm_swish_gate.weight"}) {
      if (prefix + other != norm.name) norm.sources.push_back({prefix + other, {m.dv}});
    }
  }
  declare(prefix + ".o_proj.weight", {D, o_columns}, Role::kMixerOut, block);
}

void Gla::declare_attention(const std::string& prefix, int block, const HybridAttention& hybrid) {
  const std::int64_t D = hidden_size_;
  const AttentionConfig& a = hybrid.attention;
  const std::int64_t kv_rows = a.kv_heads * a.head_dim;
  const std::pair<const char*, std::int64_t> projections[] = {
      {"q_proj", D}, {"k_proj", kv_rows}, {"v_proj", kv_rows}};
  for (const auto& [projection, rows] : projections) {
    const std::string module = prefix + "." + projection;
    declare(module + ".weight", {rows, D}, Role::kMixerIn, block);
    if (hybrid.qkv_bias) declare(module + ".bias", {rows}, Role::kBias, block);
  }
  declare(prefix + ".o_proj.weight", {D, D}, Role::kMixerOut, block);
}

// Checkpoints from before February 2025 hold gate and up as one tensor named gate_proj, gate rows
// first.
void Gla::declare_mlp(const std::string& prefix, int block) {
  const std::int64_t D = hidden_size_, I = intermediate_;
  const std::string fused = prefix + ".gate_proj.weight";
  TensorSpec& gate = declare(prefix + ".gate_proj.weight", {I, D}, Role::kMlpIn, block);
  gate.sources.push_back({fused, {2 * I, D}, 0, I});
  TensorSpec& up = declare(prefix + ".up_proj.weight", {I, D}, Role::kMlpIn, block);
  up.sources.push_back({fused, {2 * I, D}, I, 2 * I});
  declare(prefix + ".down_proj.weight", {D, I}, Role::kMlpOut, block);
}

std::int64_t Gla::mixer_macs_per_token() const {
  // Outer product, decay and read-out of the state.
  const std::int64_t gla =
      mixer_.kv_heads * mixer_.dk * mixer_.dv * 2 + mixer_.heads * mixer_.dk * mixer_.dv;
  return gla * (blocks_ - static_cast<std::int64_t>(hybrid_.size()));
}

std::int64_t Gla::state_bytes(std::int64_t tokens, kernels::KvType kv_cache) const {
  std::int64_t values = 0, cached = 0;
  for (std::int64_t i = 0; i < blocks_; ++i) {
    const auto hybrid = hybrid_.find(i);
    if (hybrid != hybrid_.end()) {
      const AttentionConfig& a = hybrid->second.attention;
      cached += tokens * kernels::kv_position_bytes(kv_cache, a.kv_heads, a.head_dim);
      continue;
    }
    values += mixer_.kv_heads * mixer_.dk * mixer_.dv;
    if (mixer_.conv_size > 0) {
      values += (mixer_.conv_size - 1) *
                (mixer_.heads * mixer_.dk + mixer_.kv_heads * (mixer_.dk + mixer_.dv));
    }
  }
  return cached + values * static_cast<std::int64_t>(sizeof(float));
}

std::unique_ptr<InputLayer> Gla::load_input(const WeightSource& source,
                                            const LoadOptions& options) const {
  return std::make_unique<TokenEmbedding>(source.embedding("model.embeddings"), options.stream());
}

std::unique_ptr<OutputLayer> Gla::load_output(const WeightSource& source,
                                              const LoadOptions& options) const {
  return std::make_unique<NormedHead>(
      load_rms_norm(source, options, "model.norm.weight", norm_eps_),
      Linear(source.linear("lm_head"), options));
}

std::unique_ptr<Mixer> Gla::load_mixer(const std::string& prefix, std::int64_t index,
                                       const WeightSource& source,
                                       const LoadOptions& options) const {
  const auto linear = [&](const char* projection) {
    return Linear(source.linear(prefix + "." + projection), options);
  };
  const auto hybrid = hybrid_.find(index);
  if (hybrid != hybrid_.end()) {
    return std::make_unique<AttentionMixer>(
        hybrid->second.attention.with(options),
        AttentionWeights{prefix, linear("q_proj"), linear("k_proj"), linear("v_proj"),
                         linear("o_proj")},
        options.stream());
  }
  GlaWeights w;
  w.module = prefix;
  w.q = linear("q_proj");
  w.k = linear("k_proj");
  w.v = linear("v_proj");
  if (mixer_.output_gate) w.g = linear("g_proj");
  w.gk0 = linear("gk_proj.0");
  w.gk1 = linear("gk_proj.1");
  w.o = linear("o_proj");
  if (mixer_.conv_size > 0) {
    const auto conv = [&](const char* conv_name) {
      const Tensor t = source.tensor(prefix + "." + conv_name + ".weight").to_f32();
      return t.reshape({t.dim(0), t.dim(2)}).on(options.stream());
    };
    w.q_conv = conv("q_conv1d");
    w.k_conv = conv("k_conv1d");
    w.v_conv = conv("v_conv1d");
  }
  w.head_norm.eps = norm_eps_;
  if (head_norm_affine_) {
    w.head_norm =
        load_rms_norm(source, options, prefix + "." + head_norm_name_ + ".weight", norm_eps_);
  }
  GlaConfig mixer = mixer_;
  if (options.compute == kernels::DenseType::kBF16) {
    mixer.arithmetic = kernels::GlaArithmetic::kBFloat16;
  }
  return std::make_unique<GlaMixer>(mixer, std::move(w), options.stream());
}

std::unique_ptr<Block> Gla::load_block(std::int64_t index, const WeightSource& source,
                                       const LoadOptions& options) const {
  const std::string prefix = fmt::format("model.layers.{}", index);
  return std::make_unique<PreNormBlock>(
      prefix, load_rms_norm(source, options, prefix + ".attn_norm.weight", norm_eps_),
      load_mixer(prefix + ".attn", index, source, options),
      load_rms_norm(source, options, prefix + ".mlp_norm.weight", norm_eps_),
      load_gated_mlp(source, options, prefix + ".mlp", mlp_activation_));
}

}  // namespace

bool matches_gla(const Config& config) {
  return config.get_string("model_type", "") == "gla";
}

std::unique_ptr<Architecture> make_gla(const Config& config) {
  return std::make_unique<Gla>(config);
}

}  // namespace aquatint
