#include "models/state_space_model.h"

#include <cmath>
#include <numbers>

#include "models/config_checks.h"
#include "models/load_parts.h"

namespace aquatint {
namespace {

// What the original code can make and this does not.
void refuse_original_variants(const Config& config) {
  const auto refuse = [&](const char* key, const char* reason) {
    config.raise_unsupported(key, reason);
  };
  if (!config.get_ints("attn_layer_idx").empty()) {
    refuse("attn_layer_idx", "attention layers between state-space ones are not supported");
  }
  if (config.get_int("d_intermediate", 0) != 0) {
    refuse("d_intermediate", "feed-forward layers beside state-space ones are not supported");
  }
  if (!config.get_bool("rms_norm", true)) {
    refuse("rms_norm", "blocks with LayerNorm are not supported");
  }
}

void check_activation(const Config& config) {
  const std::string name = config.get_string("hidden_act", "silu");
  if (name == "silu" || name == "swish") return;
  config.raise_unsupported("hidden_act",
                           "state-space models with other functions than silu are "
                           "not supported");
}

}  // namespace

bool is_original_state_space(const Config& config) {
  return !config.has("hidden_size") && config.has("d_model") && config.has("n_layer") &&
         config.has("ssm_cfg");
}

std::string original_mixer(const Config& config) {
  return config.child("ssm_cfg").get_string("layer", "Mamba1");
}

Config mixer_keys(const Config& config) {
  return is_original_state_space(config) ? config.child("ssm_cfg") : config;
}

StateSpaceModel::StateSpaceModel(const Config& config, const Defaults& defaults)
    : original_(is_original_state_space(config)) {
  const Config mixer = mixer_keys(config);
  if (original_) {
    refuse_original_variants(config);
    hidden_size_ = size_key(config, "d_model");
    blocks_ = blocks_key(config, "n_layer");
    const std::int64_t multiple = size_key(config, "pad_vocab_size_multiple", 8);
    vocab_size_ = (size_key(config, "vocab_size") + multiple - 1) / multiple * multiple;
    states_ = size_key(mixer, "d_state", defaults.original_states);
    conv_size_ = size_key(mixer, "d_conv", 4);
    projection_bias_ = mixer.get_bool("bias", false);
    conv_bias_ = mixer.get_bool("conv_bias", true);
    tied_ = config.get_bool("tie_embeddings", true);
  } else {
    check_activation(config);
    hidden_size_ = size_key(config, "hidden_size", defaults.hidden);
    blocks_ = blocks_key(config, "num_hidden_layers", defaults.blocks);
    vocab_size_ = size_key(config, "vocab_size", defaults.vocab);
    states_ = size_key(config, "state_size", defaults.states);
    conv_size_ = size_key(config, "conv_kernel", 4);
    projection_bias_ = config.get_bool("use_bias", false);
    conv_bias_ = config.get_bool("use_conv_bias", true);
    norm_eps_ = static_cast<float>(bounded(config, "layer_norm_epsilon", 1e-5, 0.0, 1.0));
    tied_ = config.get_bool("tie_word_embeddings", defaults.tied);
  }
  const double expand = bounded(mixer, "expand", 2.0, 0.0, 1024.0);
  inner_ = static_cast<std::int64_t>(expand * static_cast<double>(hidden_size_));
  require(inner_ >= 1 && inner_ <= kLargestSize, config, "hidden size times expand is out of range",
          inner_, kLargestSize);
  require(states_ <= 4096, config, "more states than supported", states_, 4096);
  require(conv_size_ <= 8, config, "convolution with more taps than supported", conv_size_, 8);
}

std::string StateSpaceModel::embedding_module() const {
  return original_ ? "backbone.embedding" : "backbone.embeddings";
}

TensorSpec& StateSpaceModel::declare_named(const std::string& name, Shape shape, Role role,
                                           int block) {
  TensorSpec& spec = declare(name, shape, role, block);
  spec.sources.push_back({"model." + name, shape});
  return spec;
}

void StateSpaceModel::declare_projection(const std::string& module, Shape shape, Role role,
                                         int block) {
  declare_named(module + ".weight", shape, role, block);
  if (projection_bias_) declare_named(module + ".bias", {shape[0]}, Role::kBias, block);
}

void StateSpaceModel::declare_tensors() {
  const Shape table{vocab_size_, hidden_size_};
  TensorSpec& embedding =
      declare_named(embedding_module() + ".weight", table, Role::kEmbedding, -1);
  for (const char* other : {"backbone.embedding.weight", "backbone.embeddings.weight"}) {
    if (embedding.name != other) embedding.sources.push_back({other, table});
  }
  for (int i = 0; i < blocks_; ++i) {
    const std::string prefix = fmt::format("backbone.layers.{}", i);
    declare_named(prefix + ".norm.weight", {hidden_size_}, Role::kNorm, i);
    declare_mixer(prefix + ".mixer", i);
    share_input(prefix + ".norm.weight", {prefix + ".mixer.in_proj"});
  }
  declare_named("backbone.norm_f.weight", {hidden_size_}, Role::kNorm, -1);
  declare_named("lm_head.weight", table, Role::kHead, -1).tied = tied_;
  share_input("backbone.norm_f.weight", {"lm_head"});
}

Tensor StateSpaceModel::load_rates(const WeightSource& source, const std::string& prefix) const {
  const Tensor a_log = source.tensor(prefix + ".A_log").to_f32();
  const std::int64_t rows = a_log.dim(0), states = a_log.numel() / rows;
  const Tensor rates = Tensor::empty({states, rows}, DType::kF32);
  const auto* from = a_log.data<float>();
  auto* to = rates.mutable_data<float>();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t n = 0; n < states; ++n) {
      const double a = -std::exp(static_cast<double>(from[r * states + n]));
      to[n * rows + r] = static_cast<float>(a * std::numbers::log2e);
    }
  }
  return rates;
}

std::pair<Tensor, Tensor> StateSpaceModel::load_conv(const WeightSource& source,
                                                     const std::string& prefix) const {
  const Tensor taps = source.tensor(prefix + ".conv1d.weight").to_f32();
  return {taps.reshape({taps.dim(0), taps.dim(2)}),
          conv_bias_ ? source.tensor(prefix + ".conv1d.bias").to_f32() : Tensor()};
}

std::unique_ptr<InputLayer> StateSpaceModel::load_input(const WeightSource& source,
                                                        const LoadOptions& options) const {
  return std::make_unique<TokenEmbedding>(source.embedding(embedding_module()), options.stream());
}

std::unique_ptr<Block> StateSpaceModel::load_block(std::int64_t index, const WeightSource& source,
                                                   const LoadOptions& options) const {
  const std::string prefix = fmt::format("backbone.layers.{}", index);
  return std::make_unique<PreNormBlock>(
      prefix, load_rms_norm(source, options, prefix + ".norm.weight", norm_eps_),
      load_mixer(prefix + ".mixer", source, options), RmsNorm{}, std::nullopt);
}

std::unique_ptr<OutputLayer> StateSpaceModel::load_output(const WeightSource& source,
                                                          const LoadOptions& options) const {
  return std::make_unique<NormedHead>(
      load_rms_norm(source, options, "backbone.norm_f.weight", norm_eps_),
      Linear(source.linear("lm_head"), options));
}

}  // namespace aquatint
