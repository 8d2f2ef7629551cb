// Mamba, as Hugging Face's `mamba` model type and as the original code names it (specification:
// docs/models/mamba.md).
#pragma once

#include <memory>

#include "models/architecture.h"

namespace aquatint {

bool matches_mamba(const Config& config);
std::unique_ptr<Architecture> make_mamba(const Config& config);

}  // namespace aquatint
