// Models that are near those we run, and why they are not the same, so that a refusal says more
// than a name.
#pragma once

#include "formats/config.h"

namespace aquatint {

// Error kUnsupported, saying what the model has that we do not compute, when the configuration is
// of one of them.
void refuse_relatives(const Config& config);

}  // namespace aquatint
