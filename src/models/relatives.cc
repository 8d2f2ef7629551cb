#include "models/relatives.h"

#include "base/error.h"

namespace aquatint {
namespace {

struct Relative {
  const char* model_type;
  const char* reason;
};

constexpr Relative kRelatives[] = {
    {"mamba3", "another recurrence than Mamba and Mamba-2"},
    {"falcon_mamba", "norms of the step sizes, B and C within the mixer"},
    {"jamba", "a mixture of experts between Mamba and attention"},
    {"bamba", "attention blocks between those of Mamba-2"},
    {"zamba", "shared attention blocks"},
    {"zamba2", "shared attention blocks"},
    {"falcon_h1", "attention beside the mixer of each block"},
    {"nemotron_h", "attention and feed-forward blocks between those of Mamba-2"},
    {"granitemoehybrid", "attention blocks and a mixture of experts"},
};

}  // namespace

void refuse_relatives(const Config& config) {
  const std::string type = config.get_string("model_type", "");
  for (const Relative& relative : kRelatives) {
    if (type != relative.model_type) continue;
    raise(ErrorKind::kUnsupported, "'{}': model_type '{}' is not supported: it has {}",
          config.origin(), type, relative.reason);
  }
}

}  // namespace aquatint
