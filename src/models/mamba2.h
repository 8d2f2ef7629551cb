// Mamba-2, as Hugging Face's `mamba2` model type and as the original code names it (specification:
// docs/models/mamba2.md).
#pragma once

#include <memory>

#include "models/architecture.h"

namespace aquatint {

bool matches_mamba2(const Config& config);
std::unique_ptr<Architecture> make_mamba2(const Config& config);

}  // namespace aquatint
