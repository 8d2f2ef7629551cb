#include "quantize/rounded_source.h"

#include <algorithm>

#include "quantize/planned_tensor.h"

namespace aquatint {
QuantizedMatrix RoundedTensors::matrix(const TensorPlan& tensor) {
  const auto found = matrices_.find(&tensor);
  if (found != matrices_.end()) return found->second;
  return matrices_.emplace(&tensor, round_planned(weights_, tensor, Stream::of(device_)))
      .first->second;
}

void RoundedTensors::forget(int block) {
  std::erase_if(matrices_, [&](const auto& row) { return row.first->spec->block == block; });
}

std::int64_t RoundedTensors::nbytes() const {
  std::size_t total = 0;
  for (const auto& [tensor, matrix] : matrices_) {
    total += matrix.values.nbytes() + matrix.scales.nbytes();
    if (matrix.zero_points.defined()) total += matrix.zero_points.nbytes();
  }
  return static_cast<std::int64_t>(total);
}

RoundedSource::RoundedSource(RoundedTensors& rounded)
    : WrappedSource(rounded.weights()), rounded_(rounded) {
  for (const TensorPlan& tensor : rounded.plan().tensors) {
    if (tensor.scheme) selected_.emplace(tensor.spec->module(), &tensor);
  }
}

RoundedSource::RoundedSource(RoundedTensors& rounded, const std::set<const TensorPlan*>& selected)
    : WrappedSource(rounded.weights()), rounded_(rounded) {
  for (const TensorPlan* tensor : selected) selected_.emplace(tensor->spec->module(), tensor);
}

const TensorPlan* RoundedSource::find(const std::string& module) const {
  const auto found = selected_.find(module);
  return found == selected_.end() ? nullptr : found->second;
}

// What a transform changed is float32 here, and of the checkpoint's type where it is written.
Tensor RoundedSource::tensor(const std::string& name) const {
  const Tensor tensor = inner().tensor(name);
  const Checkpoint& checkpoint = rounded_.checkpoint();
  const TensorSpec* spec = checkpoint.architecture().find(name);
  const DType dtype = spec == nullptr ? tensor.dtype() : checkpoint.stored_dtype(*spec);
  return tensor.dtype() == dtype ? tensor : tensor.to_f32().to(dtype);
}

LinearWeights RoundedSource::linear(const std::string& module) const {
  const TensorPlan* plan = find(module);
  const Checkpoint& checkpoint = rounded_.checkpoint();
  LinearWeights result;
  if (plan == nullptr) {
    result = inner().linear(module);
    const bool tied = module == "lm_head" && inner().head_is_tied();
    if (!tied) result.weight = tensor(module + ".weight");
    if (result.bias.defined()) result.bias = tensor(module + ".bias");
    return result;
  }
  result.module = module;
  result.weight = rounded_.matrix(*plan);
  result.activations = plan->scheme->activations;
  result.input = plan->input;
  const std::string bias = module + ".bias";
  if (checkpoint.architecture().find(bias) != nullptr) result.bias = tensor(bias);
  return result;
}

std::variant<Tensor, QuantizedMatrix> RoundedSource::embedding(const std::string& module) const {
  const TensorPlan* plan = find(module);
  if (plan == nullptr) return inner().embedding(module);
  return rounded_.matrix(*plan);
}

std::optional<ModuleScheme> RoundedSource::scheme(const TensorSpec& spec) const {
  if (!is_linear(spec.role) && spec.role != Role::kEmbedding) return std::nullopt;
  const TensorPlan* plan = find(spec.module());
  return plan == nullptr ? std::nullopt : plan->scheme;
}

bool RoundedSource::head_is_tied() const {
  return inner().head_is_tied() &&
         std::none_of(selected_.begin(), selected_.end(),
                      [](const auto& row) { return row.second->spec->role == Role::kHead; });
}

std::int64_t RoundedSource::read_bytes(const TensorSpec& spec) const {
  return scheme(spec) ? find(spec.module())->bytes_after : inner().read_bytes(spec);
}

}  // namespace aquatint
