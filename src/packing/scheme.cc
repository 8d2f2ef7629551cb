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

bool is_int8(ActivationScheme scheme) {
  return scheme != ActivationScheme::kFloat;
}

bool is_static(ActivationScheme scheme) {
  return scheme == ActivationScheme::kInt8Static || scheme == ActivationScheme::kInt8StaticAffine;
}

std::string activation_scheme_name(ActivationScheme scheme) {
  switch (scheme) {
    case ActivationScheme::kFloat:
      return "A16";
    case ActivationScheme::kInt8Dynamic:
      return "A8 dynamic";
    case ActivationScheme::kInt8Static:
      return "A8 static";
    case ActivationScheme::kInt8StaticAffine:
      return "A8 static affine";
  }
  return "";
}

}  // namespace aquatint
