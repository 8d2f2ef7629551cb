// What the weights of a model take in memory when it runs, told without loading it: products work
// on packed copies, so neither the size of the files nor that of the stored types says it.
#pragma once

#include <cstdint>

#include "models/checkpoint.h"

namespace aquatint {

// Arithmetic of the weights that are not quantized: what is asked for, else float32, or bfloat16
// beside quantized ones.
kernels::DenseType compute_type(const WeightSource& source, const LoadOptions& options);

// Bytes with these options: quantized weights packed for the integer kernels (of the CPU; GPUs pad
// little more), others in compute_type(). Padding by the matrix library is not known here and left
// out.
std::int64_t running_weight_bytes(const Architecture& architecture, const WeightSource& source,
                                  const LoadOptions& options = {});
std::int64_t running_weight_bytes(const Checkpoint& checkpoint, const LoadOptions& options = {});

}  // namespace aquatint
