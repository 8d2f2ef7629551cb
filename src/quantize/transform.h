// A transform rewrites the float model into an equivalent one that quantizes better, before
// anything is rounded. With quantization off, logits before and after agree; a test holds every row
// of the registry to that, for every architecture. The registry is the only list of them: recipes,
// help and documentation follow from its rows.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/checkpoint.h"
#include "quantize/calibrate.h"
#include "quantize/transform_options.h"

namespace aquatint {

struct TransformEntry {
  const char* name;
  const char* description;
  std::vector<std::string> options;  // the members of TransformOptions that it reads
  // What it wants to know of which taps of the model.
  std::vector<TapRequest> (*requests)(const Architecture& architecture, const WeightSource& source,
                                      const TransformOptions& options);
  // The rewritten model: float32 where it changed something, computed when asked for. `observers`
  // answer the requests, in their order. `source` and `architecture` must outlive the result; the
  // observers need not.
  std::unique_ptr<WeightSource> (*apply)(const Architecture& architecture,
                                         const WeightSource& source,
                                         std::span<const std::unique_ptr<Observer>> observers,
                                         const TransformOptions& options);
};

const std::vector<TransformEntry>& transform_registry();
std::vector<std::string> transform_names();
// Error kInvalidArgument for an unknown name.
const TransformEntry& find_transform(const std::string& name);

struct Recipe;

// The model as the transforms of a recipe leave it; of a recipe that has none, the checkpoint
// passed on, and no data is read. The checkpoint must outlive the result. Errors of calibrate.
std::unique_ptr<WeightSource> apply_transforms(const Checkpoint& checkpoint, const Recipe& recipe,
                                               const CalibrationData& data,
                                               const CalibrationOptions& options);

}  // namespace aquatint
