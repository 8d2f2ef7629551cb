// What Mamba and Mamba-2 models share: blocks of a norm and a mixer between an embedding and a
// normalized head, described by either of two kinds of config.json, Hugging Face's and that of the
// original code (state-spaces/mamba), which also name the embedding differently.
#pragma once

#include <memory>
#include <string>

#include "models/architecture.h"

namespace aquatint {

// Which of the two kinds a configuration is: the original's has d_model, n_layer and ssm_cfg, and
// no hidden_size (converted ones keep the original's keys, out of date, beside their own).
bool is_original_state_space(const Config& config);
// The mixer that a configuration of the original kind names: "Mamba1" when it names none.
std::string original_mixer(const Config& config);

class StateSpaceModel : public Architecture {
 public:
  bool runs_on_gpu() const override { return false; }
  std::unique_ptr<InputLayer> load_input(const WeightSource& source,
                                         const LoadOptions& options) const override;
  std::unique_ptr<Block> load_block(std::int64_t index, const WeightSource& source,
                                    const LoadOptions& options) const override;
  std::unique_ptr<OutputLayer> load_output(const WeightSource& source,
                                           const LoadOptions& options) const override;

 protected:
  struct Defaults {
    std::int64_t hidden, blocks, vocab, states;  // of Hugging Face's configuration class
    std::int64_t original_states;
    bool tied;
  };
  // Reads what both models have.
  StateSpaceModel(const Config& config, const Defaults& defaults);
  // Declares everything, by declare_mixer(prefix, block) for each "backbone.layers.<n>.mixer".
  void declare_tensors();
  virtual void declare_mixer(const std::string& prefix, int block) = 0;
  virtual std::unique_ptr<Mixer> load_mixer(const std::string& prefix, const WeightSource& source,
                                            const LoadOptions& options) const = 0;
  // A tensor that checkpoints may hold under a name that begins with "model." too.
  TensorSpec& declare_named(const std::string& name, Shape shape, Role role, int block);
  // The biases of in_proj or out_proj, only if the configuration wants them.
  void declare_projection(const std::string& module, Shape shape, Role role, int block);
  // A / ln 2 = -exp(A_log) / ln 2 of "<prefix>.A_log" [n, states] or [n], transposed: [states, n].
  Tensor load_rates(const WeightSource& source, const std::string& prefix) const;
  // Taps [channels, size] of "<prefix>.conv1d.weight", and the bias or nothing.
  std::pair<Tensor, Tensor> load_conv(const WeightSource& source, const std::string& prefix) const;

  bool original_ = false;
  std::int64_t inner_ = 0;      // int(expand * hidden)
  std::int64_t states_ = 0;     // per channel or head
  std::int64_t conv_size_ = 0;  // taps
  bool projection_bias_ = false, conv_bias_ = true;
  float norm_eps_ = 1e-5f;

 private:
  std::string embedding_module() const;
  bool tied_ = true;
};

// The object with the keys of a mixer: the configuration itself, or the original's ssm_cfg.
Config mixer_keys(const Config& config);

}  // namespace aquatint
