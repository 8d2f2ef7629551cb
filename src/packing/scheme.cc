#include "packing/scheme.h"

#include <fmt/core.h>

namespace aquatint {

std::int64_t WeightScheme::groups(std::int64_t columns) const {
  if (granularity != Granularity::kGroup) return 1;
  return (columns + group_size - 1) / group_size;
}

std::string WeightScheme::str() const {
  const char* symmetry = symmetric ? "symmetric" : "asymmetric";
  switch (granularity) {
    case Granularity::kTensor:
      return fmt::format("W{} tensor {}", bits, symmetry);
    case Granularity::kRow:
      return fmt::format("W{} row {}", bits, symmetry);
    case Granularity::kGroup:
      return fmt::format("W{} group {} {}", bits, group_size, symmetry);
  }
  return "";
}

std::string activation_scheme_name(ActivationScheme scheme) {
  return scheme == ActivationScheme::kFloat ? "A16" : "A8 dynamic";
}

}  // namespace aquatint
