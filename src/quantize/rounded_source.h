// A model as a recipe would leave it, or as it would be with only some of its tensors quantized,
// without a file in between: planned weights are rounded in memory when they are asked for, all
// else comes from the checkpoint or what a transform made of it. What loads from it is bit for bit
// what loads from the folder that the pipeline writes.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "models/wrapped_source.h"
#include "quantize/plan.h"

namespace aquatint {

// The quantized matrices of a plan, each rounded at most once however many sources share it. They
// stay until they are forgotten, one byte a weight.
class RoundedTensors {
 public:
  // Both must outlive this. `device` rounds; the result does not depend on it.
  RoundedTensors(const Checkpoint& checkpoint, const Plan& plan, Device device = {})
      : RoundedTensors(checkpoint, checkpoint, plan, device) {}
  // With float weights that a transform made of the checkpoint's; all must outlive this.
  RoundedTensors(const Checkpoint& checkpoint, const WeightSource& weights, const Plan& plan,
                 Device device = {})
      : checkpoint_(checkpoint), weights_(weights), plan_(plan), device_(device) {}

  const Checkpoint& checkpoint() const { return checkpoint_; }
  // What is rounded: the checkpoint, or what a transform made of it.
  const WeightSource& weights() const { return weights_; }
  const Plan& plan() const { return plan_; }
  // The matrix of a tensor of the plan that has a scheme.
  QuantizedMatrix matrix(const TensorPlan& tensor);
  // Forgets the matrices of a block, or of the tensors outside the blocks (-1).
  void forget(int block);
  std::int64_t nbytes() const;

 private:
  const Checkpoint& checkpoint_;
  const WeightSource& weights_;
  const Plan& plan_;
  Device device_;
  std::map<const TensorPlan*, QuantizedMatrix> matrices_;
};

class RoundedSource : public WrappedSource {
 public:
  // Everything that the plan quantizes. `rounded` must outlive this.
  explicit RoundedSource(RoundedTensors& rounded);
  // Only these tensors of the plan, each of which has a scheme.
  RoundedSource(RoundedTensors& rounded, const std::set<const TensorPlan*>& selected);

  Tensor tensor(const std::string& name) const override;
  LinearWeights linear(const std::string& module) const override;
  std::variant<Tensor, QuantizedMatrix> embedding(const std::string& module) const override;

  bool is_quantized() const override { return !selected_.empty(); }
  std::optional<ModuleScheme> scheme(const TensorSpec& spec) const override;
  bool head_is_tied() const override;
  std::int64_t read_bytes(const TensorSpec& spec) const override;

 private:
  // Null for a module that stays as it is.
  const TensorPlan* find(const std::string& module) const;

  RoundedTensors& rounded_;
  std::map<std::string, const TensorPlan*> selected_;  // by module
};

}  // namespace aquatint
