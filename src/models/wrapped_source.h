// A source of weights that passes everything on from another one. What derives from it changes
// some of it.
#pragma once

#include "models/architecture.h"

namespace aquatint {

class WrappedSource : public WeightSource {
 public:
  // `inner` must outlive this.
  explicit WrappedSource(const WeightSource& inner) : inner_(inner) {}

  Tensor tensor(const std::string& name) const override { return inner_.tensor(name); }
  LinearWeights linear(const std::string& module) const override { return inner_.linear(module); }
  std::variant<Tensor, QuantizedMatrix> embedding(const std::string& module) const override {
    return inner_.embedding(module);
  }
  std::string name() const override { return inner_.name(); }
  bool is_quantized() const override { return inner_.is_quantized(); }
  std::optional<ModuleScheme> scheme(const TensorSpec& spec) const override {
    return inner_.scheme(spec);
  }
  bool head_is_tied() const override { return inner_.head_is_tied(); }
  std::int64_t read_bytes(const TensorSpec& spec) const override { return inner_.read_bytes(spec); }
  void release(int block) const override { inner_.release(block); }

 protected:
  const WeightSource& inner() const { return inner_; }

 private:
  const WeightSource& inner_;
};

}  // namespace aquatint
