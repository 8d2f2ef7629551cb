#include "quantize/rounding.h"

#include "quantize/roundings/nearest.h"

namespace aquatint {

const std::vector<RoundingEntry>& rounding_registry() {
  static const std::vector<RoundingEntry> entries = {
      {"nearest", "each value to the nearest point of its grid", round_nearest},
  };
  return entries;
}

std::vector<std::string> rounding_names() {
  std::vector<std::string> names;
  for (const RoundingEntry& entry : rounding_registry()) names.emplace_back(entry.name);
  return names;
}

const RoundingEntry& find_rounding(const std::string& name) {
  for (const RoundingEntry& entry : rounding_registry()) {
    if (name == entry.name) return entry;
  }
  raise(ErrorKind::kInvalidArgument, "no rounding is called '{}'", name);
}

}  // namespace aquatint
