#include "cli/calibration_run.h"

#include <algorithm>
#include <set>

#include "base/memory.h"
#include "base/printable.h"
#include "cli/common.h"
#include "quantize/histogram_plots.h"
#include "quantize/static_scales.h"
#include "quantize/transform.h"
#include "runtime/model_text.h"

namespace aquatint::cli {
namespace {

bool draws(const CalibrationRun& run) {
  return !run.histograms.empty() || !run.plots.empty();
}

// The inputs of all projections, each once.
std::vector<TapRequest> histogram_requests(const Checkpoint& checkpoint) {
  ObserverOptions histogram;
  histogram.name = "histogram";
  std::vector<TapRequest> requests;
  std::set<std::string> seen;
  for (const TensorSpec& spec : checkpoint.architecture().tensors()) {
    if (!is_linear(spec.role) || !seen.insert(spec.tap).second) continue;
    requests.push_back({spec.tap, histogram, ColumnGroups::tensor()});
  }
  return requests;
}

void write_histograms(const CalibrationRun& run, const std::vector<TapRequest>& requests,
                      const std::vector<std::unique_ptr<Observer>>& observers) {
  std::vector<TapHistogram> histograms;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    for (TapHistogram& one : tap_histograms(requests[i].tap, *observers[i])) {
      histograms.push_back(std::move(one));
    }
  }
  if (!run.histograms.empty()) write_histograms_npz(run.histograms, histograms);
  if (!run.plots.empty()) write_histogram_plots(run.plots, histograms);
}

}  // namespace

void check_calibration(const CalibrationRun& run, const Recipe& recipe, const Plan& plan,
                       const CalibrationOptionSet& options) {
  if (!run.histograms.empty()) check_output(run.histograms);
  if (!run.plots.empty()) check_histogram_plots(run.plots);
  if (options.given() && !recipe.transform && !plan.needs_calibration() && !draws(run)) {
    raise(ErrorKind::kInvalidArgument, "recipe '{}' has nothing to calibrate on this model",
          printable(recipe.name));
  }
}

Calibrated calibrate(const CalibrationRun& run, const Checkpoint& checkpoint, const Recipe& recipe,
                     Plan& plan, const CalibrationOptionSet& options) {
  CalibrationOptions how;
  if (!recipe.transform && !plan.needs_calibration() && !draws(run)) {
    return {apply_transforms(checkpoint, recipe, {}, how), std::nullopt};
  }
  const Architecture& architecture = checkpoint.architecture();
  CalibrationData data = load_calibration_data(options.resolve(), open_tokenizer(run.model),
                                               architecture.max_positions());
  if (run.text) {
    for (const std::string& line : calibration_lines(data)) print(line + "\n");
  }
  how.spill_folder = run.spill;
  const std::int64_t available = available_memory_bytes();
  if (available >= 0) how.hidden_bytes = std::min(how.hidden_bytes, available / 4);
  auto weights = apply_transforms(checkpoint, recipe, data, how);
  const auto requests = draws(run) ? histogram_requests(checkpoint) : std::vector<TapRequest>{};
  const auto observers = calibrate_plan(architecture, *weights, plan, data, how, requests);
  if (recipe.transform) plan.calibration = data.summary();
  if (draws(run)) write_histograms(run, requests, observers);
  return {std::move(weights), std::move(data)};
}

}  // namespace aquatint::cli
