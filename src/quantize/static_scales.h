// The grids of static activations, from what observers saw of a calibration run. Tensors that are
// fed by the same values share a grid.
#pragma once

#include "quantize/calibrate.h"
#include "quantize/plan.h"

namespace aquatint {

// The grid that represents a range, widened to contain zero: of symmetric integers scale =
// max|x| / 127.5, of others scale = (max - min) / 255 and zero_point = round(-128 - min / scale),
// as compressed-tensors computes both. A range of zeros gets the scale 1.
StaticScale static_scale(const Range& range, bool symmetric);

// What must be observed for a plan, each tap once. Error kInvalidArgument when tensors fed by the
// same values are not observed, or not symmetric, alike.
std::vector<TapRequest> scale_requests(const Plan& plan);

// Runs the model over the data, sets the grids of the plan and, if it has any, notes the data.
// `others` are observed in the same run and returned in order.
std::vector<std::unique_ptr<Observer>> calibrate_plan(const Architecture& architecture,
                                                      const WeightSource& weights, Plan& plan,
                                                      const CalibrationData& data,
                                                      const CalibrationOptions& options,
                                                      const std::vector<TapRequest>& others = {});

}  // namespace aquatint
