// What a block remembers of a sequence between steps: a recurrent matrix, convolution windows or a
// key-value cache, behind one interface that can be cloned, saved, restored and (later) quantized.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "device/stream.h"
#include "kernels/attention/kv_type.h"
#include "tensor/tensor.h"

namespace aquatint {

class BlockState {
 public:
  virtual ~BlockState() = default;
  virtual std::unique_ptr<BlockState> clone() const = 0;
  // Back to the state before the first token.
  virtual void reset() = 0;
  // The tensors that make up the state, by name; enough to save it and, through assign, to restore
  // it. They share memory with the state, maybe a GPU's: clone them to keep the values.
  virtual std::vector<std::pair<std::string, Tensor>> tensors() const = 0;
  // Takes the values of tensors() of another state of the same block. Error kCorrupt on a mismatch.
  virtual void assign(const std::vector<std::pair<std::string, Tensor>>& tensors) = 0;
  std::size_t nbytes() const;
};

// The rows of one sequence in a step that several sequences share.
struct Segment {
  std::int64_t first_row = 0;
  std::int64_t tokens = 0;
  std::int64_t past = 0;  // tokens the sequence had before this step
  BlockState* state = nullptr;
};

// The positions of all rows of the segments in their sequences, to `positions` in the host's
// memory.
void row_positions(std::span<const Segment> segments, std::int32_t* positions);

// A state of fixed shape: named float32 tensors that start at zero (recurrent matrices and
// windows).
class FixedState : public BlockState {
 public:
  FixedState(std::vector<std::pair<std::string, Shape>> layout, Stream& stream);
  std::unique_ptr<BlockState> clone() const override;
  void reset() override;
  std::vector<std::pair<std::string, Tensor>> tensors() const override { return tensors_; }
  void assign(const std::vector<std::pair<std::string, Tensor>>& tensors) override;
  // Values of the i-th tensor of the layout.
  float* values(std::size_t i) { return tensors_[i].second.mutable_data<float>(); }

 private:
  Stream* stream_;
  std::vector<std::pair<std::string, Tensor>> tensors_;
};

// Keys and values of every position so far, position-major. Grows by doubling. On a GPU the type is
// float32.
class KvCache : public BlockState {
 public:
  KvCache(std::int64_t kv_heads, std::int64_t head_dim, kernels::KvType type, Stream& stream);
  std::unique_ptr<BlockState> clone() const override;
  void reset() override { length_ = 0; }
  std::vector<std::pair<std::string, Tensor>> tensors() const override;
  void assign(const std::vector<std::pair<std::string, Tensor>>& tensors) override;

  // Appends rows [n, kv_heads * head_dim] of keys and values. False, and the length stays, when the
  // type is not float32 and a value is NaN or infinite (or rounds to infinity).
  bool append(const float* keys, const float* values, std::int64_t n);
  std::int64_t length() const { return length_; }
  kernels::KvType type() const { return type_; }
  // As kernels::AttentionSequence wants them; scales are null but for int8.
  const void* keys() const { return parts_[kKeys].bytes(); }
  const void* values() const { return parts_[kValues].bytes(); }
  const float* key_scales() const { return scales(kKeyScales); }
  const float* value_scales() const { return scales(kValueScales); }

 private:
  // Parts of the cache, each [capacity, columns]; the scales with int8 only.
  enum Part : std::size_t { kKeys, kValues, kKeyScales, kValueScales };
  std::size_t part_count() const { return type_ == kernels::KvType::kInt8 ? 4 : 2; }
  std::int64_t columns(std::size_t part) const;
  DType dtype(std::size_t part) const;
  std::size_t row_bytes(std::size_t part) const;
  const float* scales(Part part) const {
    return parts_[part].defined() ? parts_[part].data<float>() : nullptr;
  }
  void reserve(std::int64_t positions);
  bool store(const float* rows, std::int64_t n, Part values, Part scales);

  Stream* stream_;
  std::int64_t kv_heads_, head_dim_, length_ = 0;
  kernels::KvType type_;
  std::array<Tensor, 4> parts_;
};

}  // namespace aquatint
