// The options that say what a model is calibrated on, and what is told about it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "quantize/calibration_data.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace aquatint::cli {

// --calib, --calib-data, --calib-key, --calib-samples, --calib-length, --calib-min-length,
// --calib-join, --calib-seed and --calib-bos.
class CalibrationOptionSet {
 public:
  // The object must outlive the verb.
  void declare(CLI::App& verb);
  // Whether the user gave any of them.
  bool given() const;
  CalibrationDataOptions resolve() const;

 private:
  CalibrationDataOptions data_;
  std::string folder_, join_ = "concatenate", bos_ = "tokenizer";
  std::uint64_t seed_ = 0;
  CLI::Option* seed_option_ = nullptr;
  std::vector<CLI::Option*> options_;
};

// Rows of help about the sets that --calib knows by name.
std::string calibration_help();

// What a report says of the data: name, counts, lengths, fingerprint, and the warning if there is
// one.
nlohmann::json calibration_json(const CalibrationData& data);

}  // namespace aquatint::cli
