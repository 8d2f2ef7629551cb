// A whole model that runs: the input layer, the blocks, the output layer, and the state of
// sequences passing through them. Weights are read-only after loading; several states may be alive
// at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/sample/sample_row.h"
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
  std::uint64_t id_ = next_id();  // of the memory of blocks_, unlike any other's

  static std::uint64_t next_id();
};

// New tokens of one sequence.
struct ModelInput {
  std::span<const std::int32_t> tokens;
  SequenceState* state = nullptr;
};

enum class LogitsFor {
  kNone,       // the states are all that is wanted
  kLastToken,  // of each sequence
  kEveryToken,
};

// Receives logits [n, vocab] of tokens [first, first + n) of inputs[sequence].
using LogitsSink = std::function<void(std::size_t sequence, std::int64_t first, std::int64_t n,
                                      const float* logits)>;

// How the next token of a sequence is chosen.
struct TokenChoice {
  kernels::SampleRow how;          // its place in the list of seen tokens is not looked at
  std::vector<std::int32_t> seen;  // what the repetition penalty weakens, each token once
};

class Model {
 public:
  // Shows progress. The checkpoint may be dropped afterwards (mapped files stay open). Error
  // kOutOfMemory, before anything is read, for a model larger than the GPU's free memory.
  static Model load(const Checkpoint& checkpoint, const LoadOptions& options);
  // The same from any source of weights, which may be dropped afterwards.
  static Model load(std::shared_ptr<const Architecture> architecture, const WeightSource& source,
                    const LoadOptions& options);

  const Architecture& architecture() const { return *architecture_; }
  Device device() const { return workspace_.stream().device(); }
  std::int64_t vocab_size() const { return architecture_->vocab_size(); }
  // Memory of one sequence's state after `tokens` tokens, in bytes.
  std::int64_t state_bytes(std::int64_t tokens) const {
    return architecture_->state_bytes(tokens, kv_cache_);
  }
  kernels::KvType kv_cache() const { return kv_cache_; }
  // Arithmetic of the weights that are not quantized.
  kernels::DenseType compute() const { return compute_; }
  SequenceState new_state() const;
  // Memory of the weights as they are executed.
  std::int64_t weight_bytes() const;
  // Of these, what the input layer holds (the embedding table, of which a token reads one row).
  std::int64_t input_bytes() const { return static_cast<std::int64_t>(input_->nbytes()); }

  // Runs all inputs together, in steps of at most step_rows() rows, advancing their states. Logits
  // are handed to the sink as they are made, tokens of one sequence in order. Error
  // kInvalidArgument for a token outside the vocabulary or a sequence beyond the model's positions;
  // kNumeric when activations overflow.
  void run(std::span<const ModelInput> inputs, LogitsFor wanted, const LogitsSink& sink);
  // One sequence; returns the logits of the last token, valid until the next call.
  std::span<const float> run(std::span<const std::int32_t> tokens, SequenceState& state);
  // Runs all inputs, none of them empty, and returns the token that follows each, chosen where the
  // model runs: no logits are copied from a GPU. Ids from `allowed` on (vocabulary padding) are
  // never chosen. Errors as for run(), and kNumeric when a logit is NaN.
  std::vector<std::int32_t> next_tokens(std::span<const ModelInput> inputs,
                                        std::span<const TokenChoice> choices, std::int64_t allowed);

  // Taps see everything from now on; null for none.
  void set_taps(TapSink* taps) { taps_ = taps; }

  static constexpr std::int64_t kStepRows = 512;
  // Rows the model runs together at most: as many as make its products efficient.
  std::int64_t step_rows() const { return device().is_cuda() ? 16384 : kStepRows; }

 private:
  struct StepPart {
    std::size_t sequence;
    std::int64_t first, tokens;  // of that sequence's input
  };
  using LogitRows = StepPart;  // tokens whose logits are together
  // Takes logits where the model runs, of these tokens in order; it may change them.
  using RowsSink = std::function<void(std::span<const LogitRows> rows, float* logits)>;
  // A step of one token of each of some sequences, captured to be run again.
  struct DecodeGraph {
    std::vector<std::uint64_t> states;  // ids, in order
    std::int32_t* ids = nullptr;        // [states], where the graph reads tokens
    float* logits = nullptr;            // [states, vocab], where it leaves them
    std::unique_ptr<StreamGraph> graph;
  };
  // Hidden values after the last normalization, of all rows of a step or only of those of the last
  // tokens of sequences.
  struct Normed {
    const float* values;
    bool only_last;
  };
  Model() = default;
  // Whether a part of a step holds the last token of its sequence's input.
  static bool is_end(std::span<const ModelInput> inputs, const StepPart& part);
  void check(std::span<const ModelInput> inputs) const;
  void run_steps(std::span<const ModelInput> inputs, LogitsFor wanted, const RowsSink& sink);
  void step(std::span<const ModelInput> inputs, const std::vector<StepPart>& parts,
            LogitsFor wanted, const RowsSink& sink);
  const float* run_blocks(ForwardContext& context, std::span<const ModelInput> inputs,
                          const std::vector<StepPart>& parts, const std::int32_t* ids,
                          std::optional<std::span<const std::int64_t>> kept);
  void emit_logits(ForwardContext& context, std::span<const ModelInput> inputs,
                   const std::vector<StepPart>& parts, Normed normed, LogitsFor wanted,
                   const RowsSink& sink);
  bool decode_by_graph(std::span<const ModelInput> inputs, const RowsSink& sink);
  DecodeGraph capture(std::span<const ModelInput> inputs, std::vector<std::uint64_t> states);
  void choose(std::span<const LogitRows> rows, float* logits, std::span<const TokenChoice> choices,
              std::int64_t allowed, std::vector<std::int32_t>& tokens);
  const void* to_host(const void* values, std::size_t bytes);

  std::shared_ptr<const Architecture> architecture_;
  std::unique_ptr<InputLayer> input_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<OutputLayer> output_;
  kernels::DenseType compute_ = kernels::DenseType::kF32;
  kernels::KvType kv_cache_ = kernels::KvType::kF32;
  Workspace workspace_;
  Workspace choosing_;  // of its own, because captured steps leave their logits in the other
  std::vector<DecodeGraph> graphs_;    // the latest last; without a graph: seen once
  std::shared_ptr<void> host_buffer_;  // pinned
  std::size_t host_bytes_ = 0;
  std::vector<float> last_logits_;
  TapSink* taps_ = nullptr;
};

}  // namespace aquatint
