#include "models/mamba2.h"

#include <limits>
#include <tuple>

#include "layers/mamba2_mixer.h"
#include "models/config_checks.h"
#include "models/state_space_model.h"

namespace aquatint {
namespace {

class Mamba2 : public StateSpaceModel {
 public:
  explicit Mamba2(const Config& config);

  const char* name() const override { return "mamba2"; }
  std::int64_t mixer_macs_per_token() const override;
  std::int64_t state_bytes(std::int64_t tokens, kernels::KvType kv_cache) const override;

 private:
  void read_heads(const Config& config);
  void read_limits(const Config& config);
  void read_norm(const Config& config);
  void declare_mixer(const std::string& prefix, int block) override;
  std::unique_ptr<Mixer> load_mixer(const std::string& prefix, const WeightSource& source,
                                    const LoadOptions& options) const override;

  Mamba2Config mixer_;
};

Mamba2::Mamba2(const Config& config)
    : StateSpaceModel(config, {4096, 64, 32768, /*states=*/128, /*original_states=*/128,
                               /*tied=*/false}) {
  read_heads(config);
  read_limits(config);
  read_norm(config);
  mixer_.conv_size = conv_size_;
  mixer_.skip_per_channel = mixer_keys(config).get_bool("D_has_hdim", false);
  declare_tensors();
}

void Mamba2::read_heads(const Config& config) {
  const Config keys = mixer_keys(config);
  kernels::SsdShape& s = mixer_.shape;
  s.states = states_;
  if (original_) {
    const std::int64_t channels = size_key(keys, "d_ssm", inner_);
    require(channels <= inner_, config, "ssm_cfg.d_ssm is more than d_model times expand", channels,
            inner_);
    s.head_dim = size_key(keys, "headdim", 64);
    require(channels % s.head_dim == 0, config, "the width is not a multiple of ssm_cfg.headdim",
            channels, s.head_dim);
    s.heads = channels / s.head_dim;
    s.groups = size_key(keys, "ngroups", 1);
    mixer_.mlp_width = inner_ - channels;
  } else {
    s.heads = size_key(config, "num_heads", 128);
    s.head_dim = size_key(config, "head_dim", 64);
    s.groups = size_key(config, "n_groups", 8);
    require(s.heads * s.head_dim == inner_, config,
            "num_heads times head_dim is not hidden_size times expand", s.heads * s.head_dim,
            inner_);
  }
  require(s.heads % s.groups == 0, config, "the number of heads is not a multiple of the groups",
          s.heads, s.groups);
}

void Mamba2::read_limits(const Config& config) {
  const char* key = original_ ? "dt_limit" : "time_step_limit";
  const std::vector<double> limits = mixer_keys(config).get_doubles(key);
  mixer_.dt_low = 0.0f;
  mixer_.dt_high = std::numeric_limits<float>::infinity();
  if (limits.empty()) return;
  if (limits.size() != 2 || !(limits[0] <= limits[1])) {
    mixer_keys(config).raise_unsupported(key, "a lower and an upper limit are expected");
  }
  mixer_.dt_low = static_cast<float>(limits[0]);
  mixer_.dt_high = static_cast<float>(limits[1]);
}

void Mamba2::read_norm(const Config& config) {
  const Config keys = mixer_keys(config);
  const std::int64_t channels = mixer_.channels();
  mixer_.norm_eps = norm_eps_;
  // Hugging Face's code has the gate first whatever a configuration says of it.
  if (original_) {
    const bool norm_first = keys.get_bool("norm_before_gate", false);
    mixer_.gate_order = !keys.get_bool("rmsnorm", true) ? kernels::GateOrder::kGateOnly
                        : norm_first                    ? kernels::GateOrder::kNormFirst
                                                        : kernels::GateOrder::kGateFirst;
  }
  mixer_.norm_group_size = size_key(keys, "norm_group_size", channels / mixer_.shape.groups);
  require(channels % mixer_.norm_group_size == 0, config,
          "the width is not a multiple of norm_group_size", channels, mixer_.norm_group_size);
}

void Mamba2::declare_mixer(const std::string& prefix, int block) {
  const Mamba2Config& m = mixer_;
  const std::int64_t channels = m.channels(), conv_channels = m.conv_channels();
  declare_projection(prefix + ".in_proj", {m.projected(), hidden_size_}, Role::kMixerIn, block);
  declare_named(prefix + ".conv1d.weight", {conv_channels, 1, conv_size_}, Role::kConv, block);
  if (conv_bias_) declare_named(prefix + ".conv1d.bias", {conv_channels}, Role::kBias, block);
  declare_named(prefix + ".dt_bias", {m.shape.heads}, Role::kTimeStepBias, block);
  declare_named(prefix + ".A_log", {m.shape.heads}, Role::kDecay, block);
  declare_named(prefix + ".D", {m.skip_per_channel ? channels : m.shape.heads}, Role::kSkip, block);
  const bool has_norm = m.gate_order != kernels::GateOrder::kGateOnly;
  if (has_norm) declare_named(prefix + ".norm.weight", {channels}, Role::kNorm, block);
  declare_projection(prefix + ".out_proj", {hidden_size_, m.mlp_width + channels}, Role::kMixerOut,
                     block);
  if (has_norm && m.mlp_width == 0) share_input(prefix + ".norm.weight", {prefix + ".out_proj"});
}

std::int64_t Mamba2::mixer_macs_per_token() const {
  const Mamba2Config& m = mixer_;  // decay and input, output; convolution
  return blocks_ * (3 * m.channels() * states_ + m.conv_channels() * conv_size_);
}

std::int64_t Mamba2::state_bytes(std::int64_t /*tokens*/, kernels::KvType /*kv_cache*/) const {
  const std::int64_t values =
      mixer_.channels() * states_ + mixer_.conv_channels() * (conv_size_ - 1);
  return blocks_ * values * static_cast<std::int64_t>(sizeof(float));
}

std::unique_ptr<Mixer> Mamba2::load_mixer(const std::string& prefix, const WeightSource& source,
                                          const LoadOptions& options) const {
  const auto values = [&](const char* parameter) {
    return source.tensor(prefix + parameter).to_f32();
  };
  Mamba2Weights w;
  w.module = prefix;
  w.in = Linear(source.linear(prefix + ".in_proj"), options);
  w.out = Linear(source.linear(prefix + ".out_proj"), options);
  std::tie(w.conv, w.conv_bias) = load_conv(source, prefix);
  w.dt_bias = values(".dt_bias");
  w.rates = load_rates(source, prefix);
  w.skip = values(".D");
  if (mixer_.gate_order != kernels::GateOrder::kGateOnly) w.norm = values(".norm.weight");
  Mamba2Config mixer = mixer_;
  if (options.compute == kernels::DenseType::kBF16) {
    mixer.arithmetic = kernels::SsdArithmetic::kBFloat16;
  }
  return std::make_unique<Mamba2Mixer>(mixer, std::move(w));
}

}  // namespace

bool matches_mamba2(const Config& config) {
  if (is_original_state_space(config)) return original_mixer(config) == "Mamba2";
  return config.get_string("model_type", "") == "mamba2";
}

std::unique_ptr<Architecture> make_mamba2(const Config& config) {
  return std::make_unique<Mamba2>(config);
}

}  // namespace aquatint
