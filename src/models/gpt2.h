// GPT-2 (specification: docs/models/gpt2.md).
#pragma once

#include <memory>

#include "models/architecture.h"

namespace aquatint {

bool matches_gpt2(const Config& config);
std::unique_ptr<Architecture> make_gpt2(const Config& config);

}  // namespace aquatint
