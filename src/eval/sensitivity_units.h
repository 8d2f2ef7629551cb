// The parts of a model that a sweep quantizes one at a time: tensors that a recipe's plan
// quantizes, grouped by role, by block, by both or not at all, with what each saves and how a
// recipe speaks of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quantize/plan.h"

namespace aquatint {

enum class SensitivityBy { kRole, kBlock, kTensor, kRoleBlock };

// "role", "block", "tensor", "role-block".
const char* sensitivity_by_name(SensitivityBy by);
std::optional<SensitivityBy> sensitivity_by_from_name(std::string_view name);
std::vector<std::string> sensitivity_by_names();

struct SensitivityUnit {
  std::string name;  // "role:scan_in", "block 3", "block 3 role:scan_in", or a module's name
  std::vector<const TensorPlan*> tensors;
  std::vector<std::string> selectors;  // that a recipe selects these tensors by
  // In files. A head that was tied is charged to the tensor for whose sake it is untied.
  std::int64_t bytes_before = 0, bytes_after = 0;

  std::int64_t bytes_saved() const { return bytes_before - bytes_after; }
};

// In order of the tensor table, where each unit first occurs. Tensors outside the blocks are units
// by role, but with kTensor. The plan must outlive the units.
std::vector<SensitivityUnit> make_sensitivity_units(const Plan& plan, SensitivityBy by);

}  // namespace aquatint
