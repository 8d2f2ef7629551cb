#include "models/tensor_table.h"

#include <array>
#include <utility>

namespace aquatint {
namespace {

constexpr std::array<std::pair<Role, const char*>, 17> kRoles = {{
    {Role::kEmbedding, "embedding"},
    {Role::kPosition, "position"},
    {Role::kHead, "head"},
    {Role::kMixerIn, "mixer_in"},
    {Role::kMixerGate, "mixer_gate"},
    {Role::kMixerOut, "mixer_out"},
    {Role::kLowRankGate, "low_rank_gate"},
    {Role::kScanIn, "scan_in"},
    {Role::kTimeStep, "time_step"},
    {Role::kMlpIn, "mlp_in"},
    {Role::kMlpOut, "mlp_out"},
    {Role::kConv, "conv"},
    {Role::kNorm, "norm"},
    {Role::kBias, "bias"},
    {Role::kDecay, "decay"},
    {Role::kSkip, "skip"},
    {Role::kTimeStepBias, "time_step_bias"},
}};

}  // namespace

const char* role_name(Role role) {
  for (const auto& [known, name] : kRoles) {
    if (known == role) return name;
  }
  return "unknown";
}

std::optional<Role> role_from_name(std::string_view name) {
  for (const auto& [role, known] : kRoles) {
    if (name == known) return role;
  }
  return std::nullopt;
}

std::vector<std::string> role_names() {
  std::vector<std::string> names;
  for (const auto& row : kRoles) names.emplace_back(row.second);
  return names;
}

bool is_linear(Role role) {
  switch (role) {
    case Role::kHead:
    case Role::kMixerIn:
    case Role::kMixerGate:
    case Role::kMixerOut:
    case Role::kLowRankGate:
    case Role::kScanIn:
    case Role::kTimeStep:
    case Role::kMlpIn:
    case Role::kMlpOut:
      return true;
    case Role::kEmbedding:
    case Role::kPosition:
    case Role::kConv:
    case Role::kNorm:
    case Role::kBias:
    case Role::kDecay:
    case Role::kSkip:
    case Role::kTimeStepBias:
      return false;
  }
  return false;
}

std::string TensorSpec::module() const {
  for (const std::string_view part : {".weight", ".bias"}) {
    if (name.ends_with(part)) return name.substr(0, name.size() - part.size());
  }
  return name;
}

}  // namespace aquatint
