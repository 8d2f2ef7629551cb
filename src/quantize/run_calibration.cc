#include "quantize/run_calibration.h"

#include <map>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"

namespace aquatint {
namespace {

// Hands the values of taps to those who observe them.
class ObserverSink : public TapSink {
 public:
  explicit ObserverSink(std::span<const ObservedTap> taps) {
    for (const ObservedTap& tap : taps) taps_[tap.tap].observers.push_back(tap.observer);
  }

  bool wants(const std::string& name) override { return taps_.count(name) > 0; }

  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    Tap& tap = taps_.at(name);
    tap.seen = true;
    try {
      for (Observer* observer : tap.observers) observer->observe(values, rows, columns);
    } catch (const Error& error) {
      raise(error.kind(), "calibration: tap '{}': {}", name, error.what());
    }
  }

  void check_seen() const {
    for (const auto& [name, tap] : taps_) {
      if (tap.seen) continue;
      raise(ErrorKind::kInvalidArgument, "calibration: tap '{}' saw no data; is there such a tap?",
            name);
    }
  }

 private:
  struct Tap {
    std::vector<Observer*> observers;
    bool seen = false;
  };
  std::map<std::string, Tap> taps_;
};

}  // namespace

void run_calibration(const Architecture& architecture, const WeightSource& weights,
                     const CalibrationData& data, std::span<const ObservedTap> taps,
                     const CalibrationOptions& options) {
  if (data.sequences.empty()) {
    raise(ErrorKind::kInvalidArgument, "'{}' has no sequences to calibrate on", data.name);
  }
  LoadOptions load;
  load.compute = options.compute;
  ObserverSink sink(taps);
  BlockRunner runner(architecture, data.sequences, options);
  Progress progress("calibrating", "blocks", architecture.blocks());
  runner.run_input(*architecture.load_input(weights, load), sink);
  weights.release(-1);
  for (std::int64_t i = 0; i < architecture.blocks(); ++i) {
    const auto block = architecture.load_block(i, weights, load);
    weights.release(static_cast<int>(i));
    runner.run_block(i, *block, sink);
    progress.advance(1);
  }
  runner.run_output(weights, load, sink);
  weights.release(-1);
  release_free_memory();
  sink.check_seen();
}

}  // namespace aquatint
