// Calibration as the verbs that quantize do it: the options become data, the data transformed
// weights and scales in the plan, and what the taps carried becomes files for the user.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "cli/calibration_options.h"
#include "quantize/plan.h"

namespace aquatint::cli {

struct CalibrationRun {
  std::filesystem::path model;    // where the tokenizer is
  std::filesystem::path spill;    // folder for hidden values that memory has no room for
  std::string histograms, plots;  // a .npz file, a folder; empty: none
  bool text = true;               // whether the data is described on standard output
};

// Whether all that is asked for can be done, before anything runs. Error kInvalidArgument when
// options of calibration are given and there is nothing to calibrate.
void check_calibration(const CalibrationRun& run, const Recipe& recipe, const Plan& plan,
                       const CalibrationOptionSet& options);

struct Calibrated {
  std::unique_ptr<WeightSource> weights;  // as the recipe's transforms leave them
  std::optional<CalibrationData> data;    // that was used, if any was
};

// Transforms the weights, calibrates what the plan needs, and writes the histograms of all
// projections' inputs. The checkpoint must outlive the result.
Calibrated calibrate(const CalibrationRun& run, const Checkpoint& checkpoint, const Recipe& recipe,
                     Plan& plan, const CalibrationOptionSet& options);

}  // namespace aquatint::cli
