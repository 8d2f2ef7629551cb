// Runs the windows of a plan through a model, several at a time, each from a fresh state, and hands
// over the logits of scored tokens. Context before the first scored token passes without logits
// being made.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "eval/text_plan.h"
#include "models/model.h"

namespace aquatint {

// Logits of consecutive scored tokens of one window.
struct ScoredRows {
  std::size_t slot;                  // of the window in its batch
  std::int64_t first;                // of the window's scored tokens
  std::int64_t round_row;            // place of the first row among all rows of this advance
  std::span<const TokenId> targets;  // the tokens scored, one a row
  const float* logits;               // [targets.size(), vocab]
};

using RowSink = std::function<void(const ScoredRows&)>;

class WindowRunner {
 public:
  WindowRunner(Model& model, const TextPlan& plan) : model_(model), plan_(plan) {}

  // Takes windows [first, first + count) of the plan and runs their unscored beginnings. Returns
  // the number of tokens in these.
  std::int64_t start(std::size_t first, std::size_t count);
  // Scores at most `rows` further tokens (at least one of each unfinished window), shared out
  // evenly. Returns how many.
  std::int64_t advance(std::int64_t rows, const RowSink& sink);
  bool finished() const;

  std::span<const TextPlan::Item> batch() const { return batch_; }
  // Seconds spent in start and advance, sinks included.
  double seconds() const { return seconds_; }

 private:
  struct Slot {
    std::vector<TokenId> input;
    std::int64_t done = 0;  // scored tokens handed over
    SequenceState state;
  };
  Model& model_;
  const TextPlan& plan_;
  std::span<const TextPlan::Item> batch_;
  std::vector<Slot> slots_;  // kept from batch to batch for their states
  double seconds_ = 0;
};

// Windows to run together: what the options say, else so many that a step of the model has rows of
// several windows while their states stay small.
std::int64_t windows_per_batch(const Model& model, const TextPlan& plan);

}  // namespace aquatint
