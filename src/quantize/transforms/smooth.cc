#include "quantize/transforms/smooth.h"

#include <algorithm>
#include <cmath>

#include "quantize/transformed_source.h"

namespace aquatint {
namespace {

// Projections that read the same values, and what makes these.
struct Group {
  std::string tap;
  const TensorSpec* scaled_by = nullptr;
  std::vector<const TensorSpec*> readers;
};

// In order of the tensor table.
std::vector<Group> groups_of(const Architecture& architecture, const WeightSource& source,
                             const TransformOptions& options) {
  std::vector<Group> groups;
  for (const TensorSpec& spec : architecture.tensors()) {
    if (!is_linear(spec.role) || spec.scaled_by.empty()) continue;
    // Its table also makes the hidden values.
    if (spec.role == Role::kHead && source.head_is_tied()) continue;
    const TensorSpec* scaled_by = architecture.find(spec.scaled_by);
    AQUATINT_ASSERT(scaled_by != nullptr);
    if (is_linear(scaled_by->role) && !options.projections) continue;
    const auto found = std::find_if(groups.begin(), groups.end(),
                                    [&](const Group& group) { return group.tap == spec.tap; });
    Group& group =
        found == groups.end() ? groups.emplace_back(Group{spec.tap, scaled_by, {}}) : *found;
    group.readers.push_back(&spec);
  }
  return groups;
}

// The largest magnitude of each column over all weights of the group.
std::vector<float> column_absmax(const WeightSource& source, const Group& group) {
  std::vector<float> largest(static_cast<std::size_t>(group.readers.front()->shape[1]), 0.0f);
  for (const TensorSpec* reader : group.readers) {
    const Tensor weight = std::get<Tensor>(source.linear(reader->module()).weight).to_f32();
    const float* values = weight.data<float>();
    for (std::int64_t r = 0; r < weight.dim(0); ++r) {
      for (float& column : largest) column = std::max(column, std::fabs(*values++));
    }
  }
  return largest;
}

}  // namespace

float smooth_factor(float inputs, float weights, double alpha) {
  if (inputs == 0.0f || weights == 0.0f) return 1.0f;
  constexpr double kFloor = 1e-5;
  return static_cast<float>(std::pow(std::max<double>(inputs, kFloor), alpha) /
                            std::pow(std::max<double>(weights, kFloor), 1.0 - alpha));
}

std::vector<TapRequest> smooth_requests(const Architecture& architecture,
                                        const WeightSource& source,
                                        const TransformOptions& options) {
  std::vector<TapRequest> requests;
  ObserverOptions absmax;
  absmax.name = "absmax";
  for (const Group& group : groups_of(architecture, source, options)) {
    requests.push_back(
        {group.tap, absmax, ColumnGroups::channels(group.readers.front()->shape[1])});
  }
  return requests;
}

std::unique_ptr<WeightSource> apply_smooth(const Architecture& architecture,
                                           const WeightSource& source,
                                           std::span<const std::unique_ptr<Observer>> observers,
                                           const TransformOptions& options) {
  const std::vector<Group> groups = groups_of(architecture, source, options);
  AQUATINT_ASSERT(groups.size() == observers.size());
  std::map<std::string, TensorFactors> factors;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Group& group = groups[g];
    const std::vector<Range> inputs = observers[g]->ranges();
    std::vector<float> scales = column_absmax(source, group), inverse;
    AQUATINT_ASSERT(inputs.size() == scales.size());
    for (std::size_t j = 0; j < scales.size(); ++j) {
      scales[j] = smooth_factor(inputs[j].max, scales[j], options.alpha);
      inverse.push_back(1.0f / scales[j]);
    }
    for (const TensorSpec* reader : group.readers) factors[reader->name].columns = scales;
    factors[group.scaled_by->name].rows = inverse;
    const std::string bias = group.scaled_by->module() + ".bias";
    if (architecture.find(bias) != nullptr) factors[bias].rows = inverse;
    source.release(group.readers.front()->block);
  }
  return std::make_unique<TransformedSource>(source, std::move(factors));
}

}  // namespace aquatint
