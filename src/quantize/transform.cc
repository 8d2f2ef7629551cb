#include "quantize/transform.h"

#include "models/wrapped_source.h"
#include "quantize/recipe.h"
#include "quantize/transforms/smooth.h"

namespace aquatint {

const std::vector<TransformEntry>& transform_registry() {
  static const std::vector<TransformEntry> entries = {
      {"smooth",
       "SmoothQuant: moves outliers of channels from activations to weights",
       {"alpha", "projections"},
       smooth_requests,
       apply_smooth},
  };
  return entries;
}

std::vector<std::string> transform_names() {
  std::vector<std::string> names;
  for (const TransformEntry& entry : transform_registry()) names.emplace_back(entry.name);
  return names;
}

const TransformEntry& find_transform(const std::string& name) {
  for (const TransformEntry& entry : transform_registry()) {
    if (name == entry.name) return entry;
  }
  raise(ErrorKind::kInvalidArgument, "no transform is called '{}'", name);
}

std::unique_ptr<WeightSource> apply_transforms(const Checkpoint& checkpoint, const Recipe& recipe,
                                               const CalibrationData& data,
                                               const CalibrationOptions& options) {
  if (!recipe.transform) return std::make_unique<WrappedSource>(checkpoint);
  const TransformEntry& transform = find_transform(recipe.transform->name);
  const Architecture& architecture = checkpoint.architecture();
  const auto requests = transform.requests(architecture, checkpoint, *recipe.transform);
  std::vector<std::unique_ptr<Observer>> observers;
  if (!requests.empty()) observers = calibrate(architecture, checkpoint, data, requests, options);
  return transform.apply(architecture, checkpoint, observers, *recipe.transform);
}

}  // namespace aquatint
