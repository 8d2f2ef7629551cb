// Runs a model in floating point over calibration data and lets observers see what its taps carry.
// The model passes block by block: one block's weights are in memory at a time, and beside them the
// hidden values of all sequences, which go to a mapped file when they are larger than a budget.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/checkpoint.h"
#include "quantize/calibration_data.h"
#include "quantize/observer.h"

namespace aquatint {

// What someone wants to know of a tap.
struct TapRequest {
  std::string tap;  // "model.layers.0.attn.q_proj.input"
  ObserverOptions observer;
  ColumnGroups groups;
};

struct CalibrationOptions {
  std::int64_t hidden_bytes = std::int64_t{4} << 30;  // of hidden values in memory; more: in a file
  std::filesystem::path spill_folder;                 // where that file is; removed at the end
  std::int64_t batch_tokens = 4096;  // rows that pass a block together, whole sequences
};

// Observers of the requests, in their order. What they have learned depends neither on the number
// of threads nor on the batch's size, but for observers that speak of batches: for them each
// sequence is a batch. Shows progress. Error kInvalidArgument for a tap that saw no data, by its
// name; kNumeric, naming the tap, for NaN or infinity.
std::vector<std::unique_ptr<Observer>> calibrate(const Checkpoint& checkpoint,
                                                 const CalibrationData& data,
                                                 const std::vector<TapRequest>& requests,
                                                 const CalibrationOptions& options);

}  // namespace aquatint
