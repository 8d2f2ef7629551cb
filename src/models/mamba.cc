#include "models/mamba.h"

#include <tuple>

#include "layers/mamba_mixer.h"
#include "models/config_checks.h"
#include "models/state_space_model.h"

namespace aquatint {
namespace {

class Mamba : public StateSpaceModel {
 public:
  explicit Mamba(const Config& config);

  const char* name() const override { return "mamba"; }
  std::int64_t mixer_macs_per_token() const override;
  std::int64_t state_bytes(std::int64_t tokens, kernels::KvType kv_cache) const override;

 private:
  void declare_mixer(const std::string& prefix, int block) override;
  std::unique_ptr<Mixer> load_mixer(const std::string& prefix, const WeightSource& source,
                                    const LoadOptions& options) const override;

  std::int64_t rank_ = 0;  // of the step sizes
};

Mamba::Mamba(const Config& config)
    : StateSpaceModel(config, {768, 32, 50280, /*states=*/16, /*original_states=*/16,
                               /*tied=*/true}) {
  const Config mixer = mixer_keys(config);
  if (original_ && original_mixer(config) != "Mamba1") {
    mixer.raise_unsupported("layer", "the mixer must be 'Mamba1' or 'Mamba2'");
  }
  const char* key = original_ ? "dt_rank" : "time_step_rank";
  const bool automatic =
      !mixer.has(key) || (mixer.is_string(key) && mixer.get_string(key) == "auto");
  rank_ = automatic ? (hidden_size_ + 15) / 16 : size_key(mixer, key);
  declare_tensors();
}

void Mamba::declare_mixer(const std::string& prefix, int block) {
  const std::int64_t inner = inner_;
  declare_projection(prefix + ".in_proj", {2 * inner, hidden_size_}, Role::kMixerIn, block);
  declare_named(prefix + ".conv1d.weight", {inner, 1, conv_size_}, Role::kConv, block);
  if (conv_bias_) declare_named(prefix + ".conv1d.bias", {inner}, Role::kBias, block);
  declare_named(prefix + ".x_proj.weight", {rank_ + 2 * states_, inner}, Role::kScanIn, block);
  declare_named(prefix + ".dt_proj.weight", {inner, rank_}, Role::kTimeStep, block);
  declare_named(prefix + ".dt_proj.bias", {inner}, Role::kTimeStepBias, block);
  declare_named(prefix + ".A_log", {inner, states_}, Role::kDecay, block);
  declare_named(prefix + ".D", {inner}, Role::kSkip, block);
  declare_projection(prefix + ".out_proj", {hidden_size_, inner}, Role::kMixerOut, block);
}

std::int64_t Mamba::mixer_macs_per_token() const {
  return blocks_ * inner_ * (3 * states_ + conv_size_);  // decay and input, output; convolution
}

std::int64_t Mamba::state_bytes(std::int64_t /*tokens*/, kernels::KvType /*kv_cache*/) const {
  const std::int64_t values = inner_ * (states_ + conv_size_ - 1);
  return blocks_ * values * static_cast<std::int64_t>(sizeof(float));
}

std::unique_ptr<Mixer> Mamba::load_mixer(const std::string& prefix, const WeightSource& source,
                                         const LoadOptions& options) const {
  const auto linear = [&](const char* projection) {
    return Linear(source.linear(prefix + projection), options);
  };
  MambaWeights w;
  w.module = prefix;
  w.in = linear(".in_proj");
  w.x = linear(".x_proj");
  w.dt = linear(".dt_proj");
  w.out = linear(".out_proj");
  std::tie(w.conv, w.conv_bias) = load_conv(source, prefix);
  w.rates = load_rates(source, prefix);
  w.skip = source.tensor(prefix + ".D").to_f32();
  return std::make_unique<MambaMixer>(MambaConfig{inner_, states_, rank_, conv_size_},
                                      std::move(w));
}

}  // namespace

bool matches_mamba(const Config& config) {
  // Whatever is not Mamba-2 comes here, to be refused by name.
  if (is_original_state_space(config)) return original_mixer(config) != "Mamba2";
  return config.get_string("model_type", "") == "mamba";
}

std::unique_ptr<Architecture> make_mamba(const Config& config) {
  return std::make_unique<Mamba>(config);
}

}  // namespace aquatint
