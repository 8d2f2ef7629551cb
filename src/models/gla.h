// Gated linear attention as flash-linear-attention's `gla` model type (specification:
// docs/models/gla.md).
#pragma once

#include <memory>

#include "models/architecture.h"

namespace aquatint {

bool matches_gla(const Config& config);
std::unique_ptr<Architecture> make_gla(const Config& config);

}  // namespace aquatint
