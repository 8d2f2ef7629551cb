#include "quantize/calibrate.h"

namespace aquatint {

std::vector<std::unique_ptr<Observer>> calibrate(const Architecture& architecture,
                                                 const WeightSource& weights,
                                                 const CalibrationData& data,
                                                 const std::vector<TapRequest>& requests,
                                                 const CalibrationOptions& options) {
  std::vector<std::unique_ptr<Observer>> observers;
  std::vector<ObservedTap> taps;
  for (const TapRequest& request : requests) {
    observers.push_back(make_observer(request.observer, request.groups));
    taps.push_back({request.tap, observers.back().get()});
  }
  run_calibration(architecture, weights, data, taps, options);
  return observers;
}

}  // namespace aquatint
