// Calibration as the verbs that quantize do it: the options become data, the data scales in the
// plan, and what the taps carried becomes files for the user.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/calibration_options.h"
#include "quantize/plan.h"

namespace aquatint::cli {

struct CalibrationRun {
  std::filesystem::path model;    // where the tokenizer is
  std::filesystem::path spill;    // folder for hidden values that memory has no room for
  std::string recipe;             // its name, for messages
  std::string histograms, plots;  // a .npz file, a folder; empty: none
  bool text = true;               // whether the data is described on standard output
};

// Whether all that is asked for can be done, before anything runs. Error kInvalidArgument when
// options of calibration are given and the plan has nothing to calibrate.
void check_calibration(const CalibrationRun& run, const Plan& plan,
                       const CalibrationOptionSet& options);

// Calibrates what the plan needs, and writes the histograms of all projections' inputs. What is
// returned describes the data; null when nothing ran.
nlohmann::json calibrate(const CalibrationRun& run, const Checkpoint& checkpoint, Plan& plan,
                         const CalibrationOptionSet& options);

}  // namespace aquatint::cli
