// One residual block of a model, and what stands before the first and after the last of them. A
// model is a list of blocks, each with its own kind of mixer and state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "layers/linear.h"
#include "layers/mixer.h"
#include "layers/mlp.h"

namespace aquatint {

class Block {
 public:
  virtual ~Block() = default;
  // hidden: [rows, hidden size], updated in place; rows of all segments. With `kept`, ascending row
  // numbers, only those rows are wanted of the last block's result: hidden then begins with them,
  // one after another, and the rest of it may be anything. States are updated by all rows.
  virtual void forward(ForwardContext& context, std::span<const Segment> segments,
                       std::int64_t rows, float* hidden,
                       std::optional<std::span<const std::int64_t>> kept) const = 0;
  virtual std::unique_ptr<BlockState> new_state() const = 0;
  // Whether a step of one token is the same work, on the same memory, at every position.
  virtual bool steps_are_alike() const = 0;
  virtual std::size_t nbytes() const = 0;
};

// Token ids to the first hidden values.
class InputLayer {
 public:
  virtual ~InputLayer() = default;
  // hidden: [rows, hidden size]. All on the context's device. The segments say at which positions
  // the rows are; their states are not looked at.
  virtual void forward(ForwardContext& context, std::span<const Segment> segments,
                       const std::int32_t* ids, std::int64_t rows, float* hidden) const = 0;
  virtual std::size_t nbytes() const = 0;
};

// Last hidden values to logits.
class OutputLayer {
 public:
  virtual ~OutputLayer() = default;
  // The final normalization: normed [rows, hidden size].
  virtual void normalize(ForwardContext& context, const float* hidden, std::int64_t rows,
                         float* normed) const = 0;
  // normed: what normalize() made. logits: [rows, vocab].
  virtual void logits(ForwardContext& context, const float* normed, std::int64_t rows,
                      float* logits) const = 0;
  virtual std::size_t nbytes() const = 0;
};

// h += s mixer(norm(h)); h += s mlp(norm(h)), the second part only when there is an MLP. s, the
// residual scale, is 1 in nearly all models; others run on the CPU only.
class PreNormBlock : public Block {
 public:
  PreNormBlock(std::string module, Norm mixer_norm, std::unique_ptr<Mixer> mixer, Norm mlp_norm,
               std::optional<Mlp> mlp, float residual_scale = 1.0f)
      : module_(std::move(module)),
        mixer_norm_(std::move(mixer_norm)),
        mlp_norm_(std::move(mlp_norm)),
        mixer_(std::move(mixer)),
        mlp_(std::move(mlp)),
        residual_scale_(residual_scale) {}
  void forward(ForwardContext& context, std::span<const Segment> segments, std::int64_t rows,
               float* hidden, std::optional<std::span<const std::int64_t>> kept) const override;
  std::unique_ptr<BlockState> new_state() const override { return mixer_->new_state(); }
  bool steps_are_alike() const override { return mixer_->steps_are_alike(); }
  std::size_t nbytes() const override;

 private:
  std::string module_;
  Norm mixer_norm_, mlp_norm_;
  std::unique_ptr<Mixer> mixer_;
  std::optional<Mlp> mlp_;
  float residual_scale_;
};

// Rows of a table, as stored (any float type, possibly memory-mapped) or quantized per row, times a
// factor (on a GPU: 1).
class TokenEmbedding : public InputLayer {
 public:
  TokenEmbedding(std::variant<Tensor, QuantizedMatrix> table, Stream& stream, float scale = 1.0f);
  void forward(ForwardContext& context, std::span<const Segment> segments, const std::int32_t* ids,
               std::int64_t rows, float* hidden) const override;
  std::size_t nbytes() const override;

 private:
  std::variant<Tensor, QuantizedMatrix> table_;
  float scale_;
};

// Rows of a table of tokens plus rows of a table of learned positions. On the CPU only.
class PositionedEmbedding : public InputLayer {
 public:
  // positions: [positions, hidden size], of any float type.
  PositionedEmbedding(TokenEmbedding tokens, Tensor positions)
      : tokens_(std::move(tokens)), positions_(std::move(positions)) {}
  void forward(ForwardContext& context, std::span<const Segment> segments, const std::int32_t* ids,
               std::int64_t rows, float* hidden) const override;
  std::size_t nbytes() const override { return tokens_.nbytes() + positions_.nbytes(); }

 private:
  TokenEmbedding tokens_;
  Tensor positions_;
};

// A norm and a linear head, whose input is the normalized values times a factor (on a GPU: 1).
class NormedHead : public OutputLayer {
 public:
  NormedHead(Norm norm, Linear head, float scale = 1.0f)
      : norm_(std::move(norm)), head_(std::move(head)), scale_(scale) {}
  void normalize(ForwardContext& context, const float* hidden, std::int64_t rows,
                 float* normed) const override;
  void logits(ForwardContext& context, const float* normed, std::int64_t rows,
              float* logits) const override;
  std::size_t nbytes() const override { return head_.nbytes() + norm_bytes(norm_); }

 private:
  Norm norm_;
  Linear head_;
  float scale_;
};

}  // namespace aquatint
