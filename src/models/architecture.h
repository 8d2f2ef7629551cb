// What one model architecture is: its sizes from the configuration, its tensor table, and how its
// parts are built from weights. One subclass per architecture, one file each; the registry is the
// only list of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "formats/compressed_tensors.h"
#include "formats/config.h"
#include "layers/block.h"
#include "models/tensor_table.h"

namespace aquatint {

// Where weights come from while a model or a block is built: a checkpoint, or the quantization
// pipeline's transformed and rounded tensors. Names are those of the tensor table.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // The tensor as stored (any float type, maybe mapped). Error kNotFound or kNumeric (NaN,
  // infinity).
  virtual Tensor tensor(const std::string& name) const = 0;
  // Weight and bias of a module that is multiplied: "model.layers.0.attn.q_proj".
  virtual LinearWeights linear(const std::string& module) const = 0;
  // The token embedding table, dense or quantized per row.
  virtual std::variant<Tensor, QuantizedMatrix> embedding(const std::string& module) const = 0;

  // What messages call it: the folder or file that the user named.
  virtual std::string name() const = 0;
  // Whether it holds quantized weights.
  virtual bool is_quantized() const = 0;
  // The scheme of one of them; empty for floating point.
  virtual std::optional<ModuleScheme> scheme(const TensorSpec& spec) const = 0;
  // Whether the head is the embedding table.
  virtual bool head_is_tied() const = 0;
  // Bytes a tensor of the table takes once read.
  virtual std::int64_t read_bytes(const TensorSpec& spec) const = 0;
  // The tensors of a block (-1: those outside the blocks) have been copied: memory that holds them
  // may go. They can be asked for again.
  virtual void release(int block) const = 0;
};

class Architecture {
 public:
  virtual ~Architecture() = default;

  virtual const char* name() const = 0;  // "gla"
  std::int64_t vocab_size() const { return vocab_size_; }
  std::int64_t hidden_size() const { return hidden_size_; }
  std::int64_t blocks() const { return blocks_; }
  // Whether every operation of its blocks has a form for GPUs.
  virtual bool runs_on_gpu() const = 0;
  // Length the model was trained for: the default window of evaluations.
  std::int64_t context_length() const { return context_length_; }
  // Positions beyond which the model is not defined; 0: none.
  std::int64_t max_positions() const { return max_positions_; }

  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  // Null when there is no such tensor.
  const TensorSpec* find(const std::string& tensor_name) const;
  // Names in checkpoints that are known and not needed.
  virtual bool ignores(const std::string& tensor_name) const { return tensor_name.empty(); }
  // Multiply-accumulates of the mixers' own arithmetic per token, beside the matrix products.
  virtual std::int64_t mixer_macs_per_token() const = 0;
  // Memory of one sequence's state after `tokens` tokens, in bytes, with keys and values (if the
  // model remembers any) of the given type.
  virtual std::int64_t state_bytes(std::int64_t tokens, kernels::KvType kv_cache) const = 0;

  virtual std::unique_ptr<InputLayer> load_input(const WeightSource& source,
                                                 const LoadOptions& options) const = 0;
  virtual std::unique_ptr<Block> load_block(std::int64_t index, const WeightSource& source,
                                            const LoadOptions& options) const = 0;
  virtual std::unique_ptr<OutputLayer> load_output(const WeightSource& source,
                                                   const LoadOptions& options) const = 0;

 protected:
  // Adds a tensor whose only source is itself.
  TensorSpec& declare(std::string tensor_name, Shape shape, Role role, int block);
  // Says that the same values feed these modules, all declared, and which tensor scales the columns
  // of those values (TensorSpec::scaled_by).
  void share_input(const std::string& scaled_by, const std::vector<std::string>& modules);

  std::int64_t vocab_size_ = 0, hidden_size_ = 0, blocks_ = 0;
  std::int64_t context_length_ = 2048, max_positions_ = 0;
  std::vector<TensorSpec> tensors_;

 private:
  std::unordered_map<std::string, std::size_t> index_;  // of tensors_, by name
};

// A row of the registry.
struct ArchitectureEntry {
  const char* name;
  bool (*matches)(const Config& config);
  std::unique_ptr<Architecture> (*make)(const Config& config);
};

const std::vector<ArchitectureEntry>& architecture_registry();
// The architecture of a configuration. Error kUnsupported names the model_type and what is
// supported.
std::unique_ptr<Architecture> make_architecture(const Config& config);

}  // namespace aquatint
