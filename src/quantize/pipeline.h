// Carries out a plan block by block: reads a block's tensors from the memory-mapped checkpoint,
// rounds them, writes them to the output shards, notes the block in the journal and forgets it.
// Peak memory is one tensor and its integers, never the model. A run killed at any moment continues
// when it is started again and ends with the same bytes; the output folder appears, complete, at
// the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "device/device.h"
#include "quantize/plan.h"

namespace aquatint {

struct QuantizeOptions {
  std::filesystem::path output;
  std::int64_t max_shard_bytes = std::int64_t{5} << 30;
  bool overwrite = false;  // replace an existing output folder
  // That rounds. The output does not depend on it, so a run may be continued on another.
  Device device{};
};

struct QuantizeResult {
  std::int64_t bytes_before = 0, bytes_after = 0;  // of tensors
  std::int64_t resumed_units = 0;                  // finished by an earlier run
  double seconds = 0;
  int shards = 0;
};

// Whether the output can be made, before anything is read or planned for it. Error kInvalidArgument
// when it exists and is not to be replaced, or is the model itself; kIo when its place is no folder
// or may not be written.
void check_output(const Checkpoint& checkpoint, const QuantizeOptions& options);

// Runs the plan on the checkpoint's weights, or on what a transform made of them. The working
// folder is "<output>.partial"; it stays when the run fails, for the next one to continue. Error
// kInvalidArgument when the output exists and overwrite is not set.
QuantizeResult quantize(const Checkpoint& checkpoint, const Recipe& recipe, const Plan& plan,
                        const QuantizeOptions& options);
QuantizeResult quantize(const Checkpoint& checkpoint, const WeightSource& weights,
                        const Recipe& recipe, const Plan& plan, const QuantizeOptions& options);

}  // namespace aquatint
