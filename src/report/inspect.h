// What a checkpoint is, for people and machines: architecture, tensors with their roles, parameters
// and bytes by role, quantization, and what running it would take.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/checkpoint.h"

namespace aquatint {

nlohmann::json inspect_json(const Checkpoint& checkpoint);
// The same as text; with `all_tensors`, one line per tensor.
std::string inspect_text(const Checkpoint& checkpoint, bool all_tensors);

}  // namespace aquatint
