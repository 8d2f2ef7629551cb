#include "models/architecture.h"
#include "models/gla.h"
#include "models/mamba.h"
#include "models/state_space_model.h"

namespace aquatint {
namespace {

// Near relatives of supported models, which would be taken for them otherwise.
struct Relative {
  const char* model_type;
  const char* difference;
};
constexpr Relative kRelatives[] = {
    {"falcon_mamba", "its scan normalizes the step sizes, B and C"},
    {"jamba", "it has attention and mixtures of experts between Mamba layers"},
    {"bamba", "it has attention between Mamba-2 layers"},
    {"zamba", "it has shared attention between Mamba layers"},
    {"zamba2", "it has shared attention between Mamba-2 layers"},
    {"falcon_h1", "it has attention beside the Mamba-2 mixer of each block"},
    {"mamba3", "its mixer is another one than Mamba-2's"},
};

// What keeps a configuration from being one of the models it looks like; empty when nothing does.
std::string difference_of(const Config& config) {
  if (is_original_state_space(config)) {
    return fmt::format(": ssm_cfg.layer '{}' is neither 'Mamba1' nor 'Mamba2'",
                       original_mixer(config));
  }
  const std::string model_type = config.get_string("model_type", "");
  for (const Relative& relative : kRelatives) {
    if (model_type == relative.model_type) return fmt::format(": {}", relative.difference);
  }
  return "";
}

}  // namespace

const std::vector<ArchitectureEntry>& architecture_registry() {
  static const std::vector<ArchitectureEntry> entries = {
      {"gla", matches_gla, make_gla},
      {"mamba", matches_mamba, make_mamba},
  };
  return entries;
}

std::unique_ptr<Architecture> make_architecture(const Config& config) {
  std::string supported;
  for (const ArchitectureEntry& entry : architecture_registry()) {
    if (entry.matches(config)) return entry.make(config);
    supported += (supported.empty() ? "" : ", ") + std::string(entry.name);
  }
  raise(ErrorKind::kUnsupported, "'{}': model_type '{}' is not supported{} (supported: {})",
        config.origin(), config.get_string("model_type", "(none)"), difference_of(config),
        supported);
}

}  // namespace aquatint
