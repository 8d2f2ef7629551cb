#include "models/architecture.h"

namespace aquatint {

const TensorSpec* Architecture::find(const std::string& tensor_name) const {
  const auto found = index_.find(tensor_name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

TensorSpec& Architecture::declare(std::string tensor_name, Shape shape, Role role, int block) {
  TensorSpec spec;
  spec.name = std::move(tensor_name);
  spec.shape = shape;
  spec.role = role;
  spec.block = block;
  spec.sources.push_back({spec.name, shape});
  if (is_linear(role)) spec.tap = spec.module() + ".input";
  index_.emplace(spec.name, tensors_.size());
  tensors_.push_back(std::move(spec));
  return tensors_.back();
}

void Architecture::share_input(const std::string& scaled_by,
                               const std::vector<std::string>& modules) {
  for (const std::string& module : modules) {
    TensorSpec& spec = tensors_[index_.at(module + ".weight")];
    spec.tap = modules.front() + ".input";
    spec.scaled_by = scaled_by;
  }
}

}  // namespace aquatint
