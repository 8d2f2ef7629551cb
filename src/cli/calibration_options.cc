#include "cli/calibration_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "quantize/calibration_text.h"

namespace aquatint::cli {

void CalibrationOptionSet::declare(CLI::App& verb) {
  CLI::Option* source =
      add_text(verb, "--calib", data_.source, "TEXT",
               "What to calibrate on: a text file, .jsonl with a page or text per line, or a set "
               "(below); without it, a sample inside the program");
  std::vector<std::string> names;
  for (const CalibrationSet& set : calibration_sets()) names.emplace_back(set.name);
  offer(source, names);
  seed_option_ = add_seed(verb, "--calib-seed", seed_, "Shuffle the documents by this seed");
  options_ = {
      source,
      add_text(verb, "--calib-data", folder_, "FOLDER", "Folder with the data files of the sets"),
      add_text(verb, "--calib-key", data_.key, "KEY", "Where the lines of a .jsonl have the text"),
      add_count(verb, "--calib-samples", data_.samples, 1, kLargestCount, "Sequences, at most"),
      add_count(verb, "--calib-length", data_.length, 2, kLargestCount,
                "Tokens of a sequence, at most"),
      add_count(verb, "--calib-min-length", data_.min_length, 1, kLargestCount,
                "Tokens of a sequence, at least"),
      add_choice(verb, "--calib-join", join_, calibration_join_names(),
                 "Whether documents are joined and cut, or each gives its beginning"),
      seed_option_,
      add_choice(verb, "--calib-bos", bos_, bos_policy_names(),
                 "Whether each sequence begins with the beginning-of-text token"),
  };
}

bool CalibrationOptionSet::given() const {
  return std::any_of(options_.begin(), options_.end(),
                     [](const CLI::Option* option) { return option->count() > 0; });
}

CalibrationDataOptions CalibrationOptionSet::resolve() const {
  CalibrationDataOptions result = data_;
  result.data_folder = folder_;
  result.join = *calibration_join_from_name(join_);
  result.bos = *bos_policy_from_name(bos_);
  if (seed_option_ != nullptr && seed_option_->count() > 0) result.seed = seed_;
  return result;
}

std::string calibration_help() {
  std::string text = "Sets to calibrate on (with --calib-data FOLDER):\n";
  for (const CalibrationSet& set : calibration_sets()) {
    text += fmt::format("  {:<20} {} ({})\n", set.name, set.summary, set.data_file);
  }
  return text;
}

nlohmann::json calibration_json(const CalibrationData& data) {
  const CalibrationLengths lengths = calibration_lengths(data);
  nlohmann::json out = {
      {"name", data.name},
      {"sequences", data.sequences.size()},
      {"tokens", data.tokens()},
      {"documents", data.documents},
      {"skipped", data.skipped},
      {"lengths",
       {{"min", lengths.min},
        {"median", lengths.median},
        {"p90", lengths.p90},
        {"max", lengths.max}}},
      {"fingerprint", data.fingerprint()},
  };
  if (!data.warning.empty()) out["warning"] = data.warning;
  return out;
}

}  // namespace aquatint::cli
