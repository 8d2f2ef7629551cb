// A model whose tensors have factors on rows and columns: what transforms that only scale make.
// Changed tensors are float32 and computed each time they are asked for; all else is passed on.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/wrapped_source.h"

namespace aquatint {

// What a tensor is multiplied by; empty: by nothing. A vector (bias, weights of a norm) is all
// rows.
struct TensorFactors {
  std::vector<float> rows, columns;
};

class TransformedSource : public WrappedSource {
 public:
  // Factors by tensor name; of weights and biases of modules, of norms, never of embeddings.
  TransformedSource(const WeightSource& inner, std::map<std::string, TensorFactors> factors)
      : WrappedSource(inner), factors_(std::move(factors)) {}

  Tensor tensor(const std::string& name) const override;
  LinearWeights linear(const std::string& module) const override;
  std::int64_t read_bytes(const TensorSpec& spec) const override;

  // Null for a tensor that it passes on.
  const TensorFactors* factors(const std::string& name) const;

 private:
  std::map<std::string, TensorFactors> factors_;
};

}  // namespace aquatint
