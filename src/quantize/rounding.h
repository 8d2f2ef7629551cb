// A rounding chooses the integers of one weight matrix on the grid of a scheme. Nearest rounding
// needs only the weights; others will ask for statistics of the inputs. The registry is the only
// list of them: recipes, help and documentation follow from its rows.
#pragma once

#include <string>
#include <vector>

#include "packing/quantized_matrix.h"

namespace aquatint {

struct RoundingEntry {
  const char* name;
  const char* description;
  // weight: any float type, [rows, columns], finite; may be a view of a file. Scales are chosen to
  // be exact in `scale_dtype`, the type they will be stored in.
  QuantizedMatrix (*round)(const Tensor& weight, const WeightScheme& scheme, DType scale_dtype);
};

const std::vector<RoundingEntry>& rounding_registry();
std::vector<std::string> rounding_names();
// Error kInvalidArgument for an unknown name.
const RoundingEntry& find_rounding(const std::string& name);

}  // namespace aquatint
