// Llama and the models that differ from it in a few numbers: Mistral, Qwen2 and MiniCPM
// (specification: docs/models/llama.md).
#pragma once

#include <memory>

#include "models/architecture.h"

namespace aquatint {

bool matches_llama(const Config& config);
bool matches_mistral(const Config& config);
bool matches_qwen2(const Config& config);
bool matches_minicpm(const Config& config);
// Of whichever of them the configuration is.
std::unique_ptr<Architecture> make_llama(const Config& config);

}  // namespace aquatint
