// A rounding chooses the integers of one weight matrix on the grid of a scheme. Nearest rounding
// needs only the weights; others will ask for statistics of the inputs. The registry is the only
// list of them: recipes, help and documentation follow from its rows.
#pragma once

#include <string>
#include <vector>

#include "device/stream.h"
#include "packing/quantized_matrix.h"

namespace aquatint {

struct RoundingEntry {
  const char* name;
  const char* description;
  QuantizedMatrix (*function)(Stream& stream, const Tensor& weight, const WeightScheme& scheme,
                              DType scale_dtype);

  // weight: any float type, [rows, columns], finite; may be a view of a file. Scales are chosen to
  // be exact in `scale_dtype`, the type they will be stored in. The stream's device does the work;
  // weight and result are in host memory, and every device gives the same bits.
  QuantizedMatrix round(const Tensor& weight, const WeightScheme& scheme, DType scale_dtype,
                        Stream& stream = Stream::cpu()) const {
    return function(stream, weight, scheme, scale_dtype);
  }
};

const std::vector<RoundingEntry>& rounding_registry();
std::vector<std::string> rounding_names();
// Error kInvalidArgument for an unknown name.
const RoundingEntry& find_rounding(const std::string& name);

}  // namespace aquatint
