#include "quantize/static_scales.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/printable.h"

namespace aquatint {
namespace {

bool has_static_input(const TensorPlan& tensor) {
  return tensor.scheme && is_static(tensor.scheme->activations);
}

}  // namespace

StaticScale static_scale(const Range& range, bool symmetric) {
  const double low = std::min(0.0, static_cast<double>(range.min));
  const double high = std::max(0.0, static_cast<double>(range.max));
  const double width = symmetric ? 2.0 * std::max(-low, high) : high - low;
  const auto scale = static_cast<float>(width / 255.0);
  if (!std::isnormal(scale)) return {};
  const double zero = symmetric ? 0.0 : std::rint(-128.0 - low / static_cast<double>(scale));
  return {scale, static_cast<int>(std::clamp(zero, -128.0, 127.0))};
}

std::vector<TapRequest> scale_requests(const Plan& plan) {
  std::vector<TapRequest> requests;
  std::map<std::string, const TensorPlan*> seen;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!has_static_input(tensor)) continue;
    const auto [found, added] = seen.emplace(tensor.spec->tap, &tensor);
    if (added) {
      requests.push_back({tensor.spec->tap, tensor.observer, ColumnGroups::tensor()});
    } else if (!(found->second->observer == tensor.observer)) {
      raise(ErrorKind::kInvalidArgument,
            "'{}' and '{}' read the same values: their static activations must have the same "
            "observer and be symmetric alike",
            printable(found->second->spec->module()), printable(tensor.spec->module()));
    }
  }
  return requests;
}

std::vector<std::unique_ptr<Observer>> calibrate_plan(const Architecture& architecture,
                                                      const WeightSource& weights, Plan& plan,
                                                      const CalibrationData& data,
                                                      const CalibrationOptions& options,
                                                      const std::vector<TapRequest>& others) {
  std::vector<TapRequest> requests = scale_requests(plan);
  const std::size_t own = requests.size();
  requests.insert(requests.end(), others.begin(), others.end());
  std::vector<std::unique_ptr<Observer>> observers;
  if (!requests.empty()) observers = calibrate(architecture, weights, data, requests, options);
  std::map<std::string, Range> ranges;
  for (std::size_t i = 0; i < own; ++i) {
    ranges.emplace(requests[i].tap, observers[i]->ranges().front());
  }
  for (TensorPlan& tensor : plan.tensors) {
    if (!has_static_input(tensor)) continue;
    tensor.input = static_scale(ranges.at(tensor.spec->tap), tensor.observer.symmetric);
  }
  if (own > 0) plan.calibration = data.summary();
  observers.erase(observers.begin(), observers.begin() + static_cast<std::ptrdiff_t>(own));
  return observers;
}

}  // namespace aquatint
