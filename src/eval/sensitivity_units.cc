#include "eval/sensitivity_units.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace aquatint {
namespace {

constexpr std::array<std::pair<SensitivityBy, const char*>, 4> kNames = {{
    {SensitivityBy::kRole, "role"},
    {SensitivityBy::kBlock, "block"},
    {SensitivityBy::kTensor, "tensor"},
    {SensitivityBy::kRoleBlock, "role-block"},
}};

std::string unit_name(const TensorSpec& spec, SensitivityBy by) {
  if (by == SensitivityBy::kTensor) return spec.module();
  const std::string role = fmt::format("role:{}", role_name(spec.role));
  if (by == SensitivityBy::kRole || spec.block < 0) return role;
  const std::string block = fmt::format("block {}", spec.block);
  return by == SensitivityBy::kBlock ? block : block + " " + role;
}

// "name:model.layers.3.*" when that selects exactly these of the plan's quantized tensors.
std::optional<std::string> common_glob(const SensitivityUnit& unit, const Plan& plan) {
  std::string prefix = unit.tensors.front()->spec->module();
  for (const TensorPlan* tensor : unit.tensors) {
    const std::string module = tensor->spec->module();
    const auto ends = std::mismatch(prefix.begin(), prefix.end(), module.begin(), module.end());
    prefix.erase(ends.first, prefix.end());
  }
  prefix.erase(prefix.rfind('.') == std::string::npos ? 0 : prefix.rfind('.') + 1);
  const auto selected =
      std::count_if(plan.tensors.begin(), plan.tensors.end(), [&](const TensorPlan& tensor) {
        return tensor.scheme && tensor.spec->module().starts_with(prefix);
      });
  if (prefix.empty() || selected != static_cast<std::ptrdiff_t>(unit.tensors.size())) return {};
  return "name:" + prefix + "*";
}

std::vector<std::string> selectors_of(const SensitivityUnit& unit, const Plan& plan,
                                      SensitivityBy by) {
  const TensorSpec& first = *unit.tensors.front()->spec;
  const bool by_role = by == SensitivityBy::kRole || first.block < 0;
  if (by_role && by != SensitivityBy::kTensor) {
    return {fmt::format("role:{}", role_name(first.role))};
  }
  if (by == SensitivityBy::kBlock) {
    if (const auto glob = common_glob(unit, plan)) return {*glob};
  }
  std::vector<std::string> names;
  for (const TensorPlan* tensor : unit.tensors) names.push_back("name:" + tensor->spec->module());
  return names;
}

// A kept head that gets bytes of its own has them because the embedding is quantized.
void charge_untied_head(const Plan& plan, std::vector<SensitivityUnit>& units) {
  for (const TensorPlan& head : plan.tensors) {
    if (head.scheme || head.spec->role != Role::kHead || head.bytes_after == head.bytes_before) {
      continue;
    }
    for (SensitivityUnit& unit : units) {
      if (unit.tensors.front()->spec->role != Role::kEmbedding) continue;
      unit.bytes_before += head.bytes_before;
      unit.bytes_after += head.bytes_after;
    }
  }
}

}  // namespace

const char* sensitivity_by_name(SensitivityBy by) {
  for (const auto& [known, name] : kNames) {
    if (known == by) return name;
  }
  return "unknown";
}

std::optional<SensitivityBy> sensitivity_by_from_name(std::string_view name) {
  for (const auto& [by, known] : kNames) {
    if (name == known) return by;
  }
  return std::nullopt;
}

std::vector<std::string> sensitivity_by_names() {
  std::vector<std::string> names;
  for (const auto& row : kNames) names.emplace_back(row.second);
  return names;
}

std::vector<SensitivityUnit> make_sensitivity_units(const Plan& plan, SensitivityBy by) {
  std::vector<SensitivityUnit> units;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!tensor.scheme) continue;
    const std::string name = unit_name(*tensor.spec, by);
    auto unit = std::find_if(units.begin(), units.end(),
                             [&](const SensitivityUnit& other) { return other.name == name; });
    if (unit == units.end()) {
      units.emplace_back();
      unit = units.end() - 1;
      unit->name = name;
    }
    unit->tensors.push_back(&tensor);
    unit->bytes_before += tensor.bytes_before;
    unit->bytes_after += tensor.bytes_after;
  }
  for (SensitivityUnit& unit : units) unit.selectors = selectors_of(unit, plan, by);
  charge_untied_head(plan, units);
  return units;
}

}  // namespace aquatint
