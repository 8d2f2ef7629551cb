#include "models/load_parts.h"

namespace aquatint {

RmsNorm load_rms_norm(const WeightSource& source, const LoadOptions& options,
                      const std::string& tensor_name, float eps) {
  return {source.tensor(tensor_name).to_f32().on(options.stream()), eps};
}

GatedMlp load_gated_mlp(const WeightSource& source, const LoadOptions& options,
                        const std::string& prefix, kernels::Activation activation) {
  const auto linear = [&](const char* projection) {
    return Linear(source.linear(prefix + projection), options);
  };
  return {linear(".gate_proj"), linear(".up_proj"), linear(".down_proj"), activation};
}

}  // namespace aquatint
