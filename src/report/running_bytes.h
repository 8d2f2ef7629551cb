// What the weights of a model take in memory when it runs, told without loading it: products work
// on packed copies, so neither the size of the files nor that of the stored types says it.
#pragma once

#include <cstdint>

#include "models/checkpoint.h"

namespace aquatint {

// Bytes with the program's defaults: quantized weights packed for the integer kernels, others in
// float32, or in bfloat16 beside quantized ones. Padding by the matrix library is not known here
// and left out.
std::int64_t running_weight_bytes(const Checkpoint& checkpoint);

}  // namespace aquatint
