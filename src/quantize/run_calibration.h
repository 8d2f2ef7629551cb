// Runs a model in floating point over calibration data and lets observers see what its taps carry.
// The model passes block by block: one block's weights are in memory at a time, and beside them the
// hidden values of all sequences, which go to a file when they are larger than a budget.
#pragma once

#include <span>
#include <string>

#include "models/architecture.h"
#include "quantize/block_runner.h"
#include "quantize/calibration_data.h"
#include "quantize/observer.h"

namespace aquatint {

// An observer and the tap that it looks at; several may look at one.
struct ObservedTap {
  std::string tap;  // "model.layers.0.attn.q_proj.input"
  Observer* observer = nullptr;
};

// Shows the taps' values to their observers, each sequence as one batch, in order. What they see
// depends neither on the number of threads nor on batch_tokens, but for rounding with AVX2, where
// the library sums float32 products in an order that does. Shows progress. Error kInvalidArgument
// for a tap that saw no data, by its name, and those of BlockRunner; kNumeric, naming the tap, when
// an observer meets NaN or infinity.
void run_calibration(const Architecture& architecture, const WeightSource& weights,
                     const CalibrationData& data, std::span<const ObservedTap> taps,
                     const CalibrationOptions& options);

}  // namespace aquatint
