// A whole model that runs: the input layer, the blocks, the output layer, and the state of
// sequences passing through them. Weights are read-only after loading; several states may be alive
// at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/checkpoint.h"

namespace aquatint {

// What a model remembers of one sequence.
class SequenceState {
 public:
  std::int64_t length() const { return length_; }
  std::int64_t nbytes() const;
  SequenceState clone() const;
  void reset();
  // All tensors of all blocks, named "<block>.<tensor>"; with assign, enough to save and restore.
  std::vector<std::pair<std::string, Tensor>> tensors() const;
  void assign(const std::vector<std::pair<std::string, Tensor>>& tensors, std::int64_t length);

 private:
  friend class Model;
  std::vector<std::unique_ptr<BlockState>> blocks_;
  std::int64_t length_ = 0;
};

// New tokens of one sequence.
struct ModelInput {
  std::span<const std::int32_t> tokens;
  SequenceState* state = nullptr;
};

enum class LogitsFor {
  kLastToken,  // of each sequence
  kEveryToken,
};

// Receives logits [n, vocab] of tokens [first, first + n) of inputs[sequence].
using LogitsSink = std::function<void(std::size_t sequence, std::int64_t first, std::int64_t n,
                                      const float* logits)>;

class Model {
 public:
  // Shows progress. The checkpoint may be dropped afterwards (mapped files stay open).
  static Model load(const Checkpoint& checkpoint, const LoadOptions& options);

  const Architecture& architecture() const { return *architecture_; }
  std::int64_t vocab_size() const { return architecture_->vocab_size(); }
  // Arithmetic of the weights that are not quantized.
  kernels::DenseType compute() const { return compute_; }
  SequenceState new_state() const;
  // Memory of the weights as they are executed.
  std::int64_t weight_bytes() const;
  // Of these, what the input layer holds (the embedding table, of which a token reads one row).
  std::int64_t input_bytes() const { return static_cast<std::int64_t>(input_->nbytes()); }

  // Runs all inputs together, in steps of at most kStepRows rows, advancing their states. Logits
  // are handed to the sink as they are made, tokens of one sequence in order. Error
  // kInvalidArgument for a token outside the vocabulary or a sequence beyond the model's positions;
  // kNumeric when activations overflow.
  void run(std::span<const ModelInput> inputs, LogitsFor wanted, const LogitsSink& sink);
  // One sequence; returns the logits of the last token, valid until the next call.
  std::span<const float> run(std::span<const std::int32_t> tokens, SequenceState& state);

  // Taps see everything from now on; null for none.
  void set_taps(TapSink* taps) { taps_ = taps; }

  static constexpr std::int64_t kStepRows = 512;

 private:
  struct StepPart {
    std::size_t sequence;
    std::int64_t first, tokens;  // of that sequence's input
  };
  Model() = default;
  void check(std::span<const ModelInput> inputs) const;
  void step(std::span<const ModelInput> inputs, const std::vector<StepPart>& parts,
            LogitsFor wanted, const LogitsSink& sink);
  void emit_logits(ForwardContext& context, std::span<const ModelInput> inputs,
                   const std::vector<StepPart>& parts, const float* normed, LogitsFor wanted,
                   const LogitsSink& sink);

  std::shared_ptr<const Architecture> architecture_;
  std::unique_ptr<InputLayer> input_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<OutputLayer> output_;
  kernels::DenseType compute_ = kernels::DenseType::kF32;
  Workspace workspace_;
  std::vector<float> last_logits_;
  TapSink* taps_ = nullptr;
};

}  // namespace aquatint
