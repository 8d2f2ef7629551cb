// The options that say what a model is calibrated on, as a command line gives them.
#include "cli/calibration_options.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace aquatint::cli {
namespace {

struct Parsed {
  CalibrationDataOptions options;
  bool given;
};

Parsed parse(const std::string& line) {
  CLI::App program;
  CLI::App* verb = program.add_subcommand("quantize", "");
  CalibrationOptionSet set;
  set.declare(*verb);
  program.parse("quantize " + line);
  return {set.resolve(), set.given()};
}

TEST(CalibrationOptions, DefaultIsTheSample) {
  const Parsed parsed = parse("");
  EXPECT_FALSE(parsed.given);
  EXPECT_EQ(parsed.options.source, "");
  EXPECT_EQ(parsed.options.samples, 128);
  EXPECT_EQ(parsed.options.length, 512);
  EXPECT_EQ(parsed.options.min_length, 64);
  EXPECT_EQ(parsed.options.join, CalibrationJoin::kConcatenate);
  EXPECT_FALSE(parsed.options.seed);
  EXPECT_EQ(parsed.options.bos, BosPolicy::kTokenizer);
}

TEST(CalibrationOptions, EveryOneIsRead) {
  const Parsed parsed = parse(
      "--calib a.jsonl --calib-data d --calib-key content --calib-samples 3 --calib-length 9 "
      "--calib-min-length 2 --calib-join truncate --calib-seed 0 --calib-bos always");
  EXPECT_TRUE(parsed.given);
  EXPECT_EQ(parsed.options.source, "a.jsonl");
  EXPECT_EQ(parsed.options.data_folder, "d");
  EXPECT_EQ(parsed.options.key, "content");
  EXPECT_EQ(parsed.options.samples, 3);
  EXPECT_EQ(parsed.options.length, 9);
  EXPECT_EQ(parsed.options.min_length, 2);
  EXPECT_EQ(parsed.options.join, CalibrationJoin::kTruncate);
  EXPECT_EQ(parsed.options.seed, 0u);
  EXPECT_EQ(parsed.options.bos, BosPolicy::kAlways);
}

TEST(CalibrationOptions, WhatIsNoValueIsNamed) {
  for (const auto& [line, part] : std::vector<std::pair<std::string, std::string>>{
           {"--calib-samples 0", "--calib-samples is '0'"},
           {"--calib-length 1", "--calib-length is '1', expected a whole number from 2"},
           {"--calib-join both", "--calib-join is 'both', expected concatenate or truncate"},
           {"--calib-seed x", "--calib-seed is 'x'"}}) {
    try {
      parse(line);
      ADD_FAILURE() << line;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

TEST(CalibrationOptions, ReportSaysWhatItWas) {
  CalibrationData data;
  data.name = "a.txt";
  data.sequences = {{1, 2, 3}};
  data.documents = 1;
  nlohmann::json out = calibration_json(data);
  EXPECT_EQ(out["fingerprint"], data.fingerprint());
  EXPECT_EQ(out["lengths"]["max"], 3);
  EXPECT_EQ(out["sequences"], 1);
  EXPECT_FALSE(out.contains("warning"));
  data.warning = "test set";
  EXPECT_EQ(calibration_json(data)["warning"], "test set");
}

}  // namespace
}  // namespace aquatint::cli
