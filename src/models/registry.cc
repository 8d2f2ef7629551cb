#include "models/architecture.h"
#include "models/gla.h"

namespace aquatint {

const std::vector<ArchitectureEntry>& architecture_registry() {
  static const std::vector<ArchitectureEntry> entries = {
      {"gla", matches_gla, make_gla},
  };
  return entries;
}

std::unique_ptr<Architecture> make_architecture(const Config& config) {
  std::string supported;
  for (const ArchitectureEntry& entry : architecture_registry()) {
    if (entry.matches(config)) return entry.make(config);
    supported += (supported.empty() ? "" : ", ") + std::string(entry.name);
  }
  raise(ErrorKind::kUnsupported, "'{}': model_type '{}' is not supported (supported: {})",
        config.origin(), config.get_string("model_type", "(none)"), supported);
}

}  // namespace aquatint
