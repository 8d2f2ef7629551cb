// Which numbers a tensor is made of: bits, symmetry, granularity. A scheme says nothing about how
// the integers are chosen (roundings), where their bytes lie (packings) or which kernel multiplies
// them.
#pragma once

#include <cstdint>
#include <string>

namespace aquatint {

enum class Granularity {
  kTensor,  // one scale
  kRow,     // one scale per output row ("channel" in compressed-tensors)
  kGroup,   // one scale per group_size consecutive columns of a row
};

struct WeightScheme {
  int bits = 8;
  bool symmetric = true;
  Granularity granularity = Granularity::kRow;
  std::int64_t group_size = 0;  // only for kGroup

  // Signed range of the stored integers.
  int qmin() const { return -(1 << (bits - 1)); }
  int qmax() const { return (1 << (bits - 1)) - 1; }
  // Scales of one row of `columns` values (1 unless grouped; the last group may be short).
  std::int64_t groups(std::int64_t columns) const;
  // "W4 group 128 asymmetric".
  std::string str() const;
  bool operator==(const WeightScheme&) const = default;
};

enum class ActivationScheme {
  kFloat,             // 16 bits or more: the product runs on floating-point activations
  kInt8Dynamic,       // int8, symmetric, one scale per token computed while running
  kInt8Static,        // int8, symmetric, one scale for all tokens, from calibration
  kInt8StaticAffine,  // the same with a zero point
};

bool is_int8(ActivationScheme scheme);
// Whether its scale comes from calibration.
bool is_static(ActivationScheme scheme);
// "A16", "A8 dynamic", "A8 static" or "A8 static affine".
std::string activation_scheme_name(ActivationScheme scheme);

// The grid of static activations: q = clamp(round(x / scale) + zero_point, -128, 127) stands for
// scale (q - zero_point).
struct StaticScale {
  float scale = 1.0f;
  int zero_point = 0;  // -128 to 127; 0 if symmetric
  bool operator==(const StaticScale&) const = default;
};

}  // namespace aquatint
