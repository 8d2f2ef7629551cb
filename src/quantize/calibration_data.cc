#include "quantize/calibration_data.h"

#include <fmt/core.h>

#include "base/hash.h"

namespace aquatint {

std::int64_t CalibrationData::tokens() const {
  std::int64_t total = 0;
  for (const auto& sequence : sequences) total += static_cast<std::int64_t>(sequence.size());
  return total;
}

std::string CalibrationData::fingerprint() const {
  Hasher hasher;
  hasher.update(fmt::format("{} sequences", sequences.size()));
  for (const auto& sequence : sequences) {
    hasher.update(fmt::format("{} tokens", sequence.size()));
    hasher.update(sequence.data(), sequence.size() * sizeof(TokenId));
  }
  return hasher.hex();
}

}  // namespace aquatint
