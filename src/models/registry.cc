#include "models/architecture.h"
#include "models/gla.h"
#include "models/gpt2.h"
#include "models/llama.h"
#include "models/mamba.h"
#include "models/mamba2.h"
#include "models/relatives.h"

namespace aquatint {

const std::vector<ArchitectureEntry>& architecture_registry() {
  static const std::vector<ArchitectureEntry> entries = {
      {"gla", matches_gla, make_gla},       {"gpt2", matches_gpt2, make_gpt2},
      {"mamba", matches_mamba, make_mamba}, {"mamba2", matches_mamba2, make_mamba2},
      {"llama", matches_llama, make_llama}, {"mistral", matches_mistral, make_llama},
      {"qwen2", matches_qwen2, make_llama}, {"minicpm", matches_minicpm, make_llama},
  };
  return entries;
}

std::unique_ptr<Architecture> make_architecture(const Config& config) {
  std::string supported;
  for (const ArchitectureEntry& entry : architecture_registry()) {
    if (entry.matches(config)) return entry.make(config);
    supported += (supported.empty() ? "" : ", ") + std::string(entry.name);
  }
  refuse_relatives(config);
  raise(ErrorKind::kUnsupported, "'{}': model_type '{}' is not supported (supported: {})",
        config.origin(), config.get_string("model_type", "(none)"), supported);
}

}  // namespace aquatint
