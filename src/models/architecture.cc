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

}  // namespace aquatint
