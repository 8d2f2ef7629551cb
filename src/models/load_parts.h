// Parts that blocks of several architectures are made of, loaded from a source of weights.
#pragma once

#include <string>

#include "models/architecture.h"

namespace aquatint {

// The RMSNorm whose weight is the tensor of this name.
RmsNorm load_rms_norm(const WeightSource& source, const LoadOptions& options,
                      const std::string& tensor_name, float eps);
// The gated feed-forward network of modules "<prefix>.gate_proj", ".up_proj" and ".down_proj".
GatedMlp load_gated_mlp(const WeightSource& source, const LoadOptions& options,
                        const std::string& prefix, kernels::Activation activation);

}  // namespace aquatint
