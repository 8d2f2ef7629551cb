// The part of a block that mixes tokens of a sequence: gated linear attention, attention, later
// state-space models. Blocks hold one each, of any kind, so hybrids need nothing special.
#pragma once

#include <memory>
#include <span>

#include "layers/context.h"
#include "layers/linear_input.h"
#include "layers/state.h"

namespace aquatint {

class Mixer {
 public:
  virtual ~Mixer() = default;
  // x: normalized hidden values, rows of all segments. y: [rows, hidden], added to. Segment
  // states are advanced by the segment's tokens.
  virtual void forward(ForwardContext& context, LinearInput& x, std::span<const Segment> segments,
                       float* y) const = 0;
  virtual std::unique_ptr<BlockState> new_state() const = 0;
  // Whether a step of one token is the same work, on the same memory, at every position, so that it
  // can be captured once and run again.
  virtual bool steps_are_alike() const = 0;
  // Memory of the weights as they are executed.
  virtual std::size_t nbytes() const = 0;
};

}  // namespace aquatint
