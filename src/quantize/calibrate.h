// What someone wants to know of a model's taps, answered by a run over calibration data.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "quantize/run_calibration.h"

namespace aquatint {

// What someone wants to know of a tap.
struct TapRequest {
  std::string tap;  // "model.layers.0.attn.q_proj.input"
  ObserverOptions observer;
  ColumnGroups groups;
};

// Observers of the requests, in their order. For those that speak of batches each sequence is one.
// Errors of run_calibration, and of make_observer.
std::vector<std::unique_ptr<Observer>> calibrate(const Architecture& architecture,
                                                 const WeightSource& weights,
                                                 const CalibrationData& data,
                                                 const std::vector<TapRequest>& requests,
                                                 const CalibrationOptions& options);

}  // namespace aquatint
