// The tensor table: every tensor of a model declared once, with its name, its shape, the forms in
// which checkpoints hold it, its role and the tap that feeds it. Loader, saver, quantizer and
// reports read it; nothing decides anything by searching in names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace aquatint {

enum class Role {
  kEmbedding,     // token embedding table
  kPosition,      // table of learned positions
  kHead,          // hidden values to logits
  kMixerIn,       // projections into the mixer: q, k, v
  kMixerGate,     // projection of the output gate
  kMixerOut,      // projection out of the mixer
  kLowRankGate,   // factors of a low-rank projection that feeds exponentials
  kScanIn,        // state-space models: projection that makes step sizes, B and C (x_proj)
  kTimeStep,      // projection of low-rank step sizes to all channels (dt_proj)
  kMlpIn,         // gate and up projections
  kMlpOut,        // down projection
  kConv,          // short convolutions
  kNorm,          // normalization weights
  kBias,          // bias of a projection
  kDecay,         // state-space models: A, as log(-A)
  kSkip,          // what a scan adds of its input (D)
  kTimeStepBias,  // bias of step sizes, before softplus
};

// "mixer_in", as recipes and reports write it.
const char* role_name(Role role);
std::optional<Role> role_from_name(std::string_view name);
std::vector<std::string> role_names();
// Whether tensors of this role are matrices multiplied through Linear.
bool is_linear(Role role);

// One form in which a checkpoint may hold a tensor: all of a stored tensor, or some of its rows.
struct TensorSource {
  std::string name;
  Shape shape;  // of the stored tensor; [columns, rows] if the tensor is transposed
  std::int64_t row_begin = 0;
  std::int64_t row_end = -1;  // -1: to the last
};

struct TensorSpec {
  std::string name;  // as we write it: "model.layers.0.attn.q_proj.weight"
  Shape shape;
  Role role = Role::kNorm;
  int block = -1;  // -1: outside the blocks
  // The tap of what feeds it: "model.layers.0.attn.q_proj.input"; empty if nothing does. Tensors
  // fed by the same values have the same one, that of the first of them.
  std::string tap;
  // The tensor that has a factor of each column of what feeds it, as a value or as a row: the
  // weights of a norm, or an up projection. Empty if none has.
  std::string scaled_by;
  bool tied = false;  // may be absent: the embedding table then serves
  // Files hold the matrix as [columns, rows]: in all sources, and in what we write (GPT-2).
  bool transposed = false;
  std::vector<TensorSource> sources;  // by preference

  // Name without ".weight" or ".bias"; that of a parameter which has neither ("mixer.A_log") whole.
  std::string module() const;
  // Of the tensor in files, where it is not quantized.
  Shape stored_shape() const { return transposed ? Shape{shape[1], shape[0]} : shape; }
};

}  // namespace aquatint
