// What a recipe will do to a model, decided tensor by tensor before anything is read: the scheme of
// each, why a tensor is kept or gets another scheme than asked for, the bytes before and after, and
// what the run will need. Printed before a run and by `inspect`; the pipeline carries it out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/checkpoint.h"
#include "quantize/recipe.h"

namespace aquatint {

struct TensorPlan {
  const TensorSpec* spec = nullptr;
  std::optional<ModuleScheme> scheme;  // empty: stays as it is
  std::string rounding;
  ObserverOptions observer;   // of static activations
  StaticScale input = {};     // their grid, once they are calibrated
  std::string note;           // why it is kept or differs from the recipe; may be empty
  DType dtype = DType::kF32;  // element type when kept, type of the scales when quantized
  std::int64_t bytes_before = 0, bytes_after = 0;
};

struct Plan {
  std::vector<TensorPlan>
      tensors;               // in order of the tensor table; a head that stays tied is left out
  bool unties_head = false;  // the output gets its own lm_head.weight
  std::int64_t bytes_before = 0, bytes_after = 0;
  std::int64_t bytes_read = 0;  // Checkpoint::read_bytes of all tensors
  // Estimates of what the run needs: the program and its largest tensor in all its forms, and the
  // output.
  std::int64_t memory_bytes = 0, disk_bytes = 0;
  std::string calibration;  // the data that scales and weights depend on; empty: on none

  // Whether activations need scales from calibration (static_scales.h).
  bool needs_calibration() const;
  // Plans of one block, or of the tensors outside the blocks (-1).
  std::vector<const TensorPlan*> of_block(int block) const;
};

// Error kUnsupported for a checkpoint that is already quantized; kInvalidArgument for a name or
// expression in the recipe that matches no tensor.
Plan make_plan(const Checkpoint& checkpoint, const Recipe& recipe);

// The tensors a planned tensor is stored as.
std::vector<TensorInfo> stored_infos(const TensorPlan& plan);

// What a run could use, in bytes; negative: not known.
struct Resources {
  std::int64_t memory = -1, disk = -1;
};

// What this process could still get for an output folder; what an unfinished run of it has reserved
// counts as free.
Resources available_resources(const std::filesystem::path& output);

// Error kOutOfMemory with the actual values when `available` (by default: what this machine has
// now) does not suffice for the plan.
void preflight(const Plan& plan, const std::filesystem::path& output, const Resources& available);
void preflight(const Plan& plan, const std::filesystem::path& output);

}  // namespace aquatint
