#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "base/printable.h"
#include "base/progress.h"
#include "cli/calibration_run.h"
#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "quantize/builtin_recipes.h"
#include "quantize/estimate.h"
#include "quantize/pipeline.h"
#include "report/table.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string model, recipe, out, json, device = "cpu", histograms, plots;
  CalibrationOptionSet calibration;
  std::int64_t shard_mib = kDefaultShardMib;
  bool overwrite = false, dry_run = false;
};

std::string recipe_list() {
  std::string text = "Built-in recipes:\n";
  for (const BuiltinRecipe& builtin : builtin_recipes()) {
    text += fmt::format("  {:<20} {}\n", builtin.name,
                        Recipe::parse(builtin.text, builtin.name).description);
  }
  return text + "\n" + calibration_help() +
         "\nExamples:\n"
         "  aquatint quantize models/gla --recipe w8a8-dynamic --out gla-w8a8\n"
         "  aquatint quantize models/gla --recipe w8a8-static --calib book.txt --out gla-static\n"
         "  aquatint quantize models/gla --recipe my-recipe.yaml --out gla-mine --dry-run";
}

// One row per role and scheme, and one line per different note with what it is about.
std::string plan_text(const Plan& plan) {
  struct Totals {
    std::int64_t tensors = 0, before = 0, after = 0;
  };
  std::map<std::pair<std::string, std::string>, Totals> rows;
  std::map<std::string, std::vector<std::string>> notes;
  for (const TensorPlan& t : plan.tensors) {
    std::string form = "kept";
    if (t.scheme) {
      form = t.scheme->weights.str();
      if (t.spec->role != Role::kEmbedding) {
        form += ", " + activation_scheme_name(t.scheme->activations);
      }
      form += ", " + t.rounding;
    }
    Totals& totals = rows[{role_name(t.spec->role), form}];
    ++totals.tensors;
    totals.before += t.bytes_before;
    totals.after += t.bytes_after;
    if (!t.note.empty()) notes[t.note].push_back(t.spec->name);
  }
  Table table({"role", "scheme", "tensors", "before", "after"});
  for (const auto& [key, t] : rows) {
    table.add({key.first, key.second, std::to_string(t.tensors), format_bytes(t.before),
               format_bytes(t.after)});
  }
  std::string text = table.str();
  for (const auto& [note, names] : notes) {
    text += fmt::format("note: {}: {}", names.front(), note);
    text += names.size() > 1 ? fmt::format(" (and {} more)\n", names.size() - 1) : "\n";
  }
  text += fmt::format("needs: {} of memory, {} of disk\n", format_bytes(plan.memory_bytes),
                      format_bytes(plan.disk_bytes));
  return text;
}

nlohmann::json plan_json(const Options& options, const Plan& plan, const Recipe& recipe,
                         Device device, double estimate) {
  nlohmann::json out = {{"model", options.model},
                        {"recipe", recipe.name},
                        {"device", device.str()},
                        {"estimated_seconds", estimate},
                        {"bytes_before", plan.bytes_before},
                        {"bytes_after", plan.bytes_after},
                        {"memory_bytes_needed", plan.memory_bytes},
                        {"disk_bytes_needed", plan.disk_bytes}};
  for (const TensorPlan& t : plan.tensors) {
    out["tensors"].push_back(
        {{"name", t.spec->name},
         {"role", role_name(t.spec->role)},
         {"scheme", t.scheme ? nlohmann::json(t.scheme->weights.str()) : nlohmann::json()},
         {"activations", t.scheme ? nlohmann::json(activation_scheme_name(t.scheme->activations))
                                  : nlohmann::json()},
         {"rounding", t.scheme ? nlohmann::json(t.rounding) : nlohmann::json()},
         {"bytes_before", t.bytes_before},
         {"bytes_after", t.bytes_after},
         {"note", t.note}});
  }
  return out;
}

void run(const Options& options) {
  check_output(options.json);
  const Device device = parse_device(options.device);
  const std::filesystem::path folder = model_folder(options.model);
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const Recipe recipe = Recipe::load(options.recipe);
  const QuantizeOptions output{options.out, options.shard_mib << 20, options.overwrite, device};
  if (!options.dry_run) aquatint::check_output(checkpoint, output);
  Plan plan = make_plan(checkpoint, recipe);
  const bool text = options.json != "-";
  const std::filesystem::path beside =
      options.out.empty() ? "" : std::filesystem::absolute(options.out).parent_path();
  const CalibrationRun calibration{folder, beside, options.histograms, options.plots, text};
  check_calibration(calibration, recipe, plan, options.calibration);
  const double estimate = estimate_seconds(checkpoint, plan, options.out, device);
  nlohmann::json report = plan_json(options, plan, recipe, device, estimate);
  if (text) {
    print(fmt::format("{} with recipe {}: {}\n\n", options.model, printable(recipe.name),
                      printable(recipe.description)));
    print(plan_text(plan));
    print(fmt::format("time: {}, by a sample of the work\n\n",
                      estimate < 1 ? "less than a second" : "about " + format_duration(estimate)));
  }
  if (options.dry_run) {
    if (!options.json.empty()) write_json(options.json, report);
    return;
  }
  preflight(plan, options.out);
  const Calibrated calibrated =
      calibrate(calibration, checkpoint, recipe, plan, options.calibration);
  if (calibrated.data) report["calibration"] = calibration_json(*calibrated.data);
  const QuantizeResult result = quantize(checkpoint, *calibrated.weights, recipe, plan, output);
  report["seconds"] = result.seconds;
  report["shards"] = result.shards;
  report["resumed_units"] = result.resumed_units;
  report["peak_memory_bytes"] = peak_resident_bytes();
  if (!options.json.empty()) write_json(options.json, report);
  if (!text) return;
  print(fmt::format(
      "wrote {}: {} -> {} ({:.2f}x smaller) in {:.1f} s, peak memory {}\n", options.out,
      format_bytes(result.bytes_before), format_bytes(result.bytes_after),
      static_cast<double>(result.bytes_before) / static_cast<double>(result.bytes_after),
      result.seconds, format_bytes(peak_resident_bytes())));
}

}  // namespace

void add_quantize(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      program.add_subcommand("quantize", "Quantize a model by a recipe into a new model folder");
  add_model(*verb, options->model);
  add_recipe(*verb, options->recipe);
  auto* out = add_text(*verb, "--out", options->out, "FOLDER", "Folder to write");
  auto* dry = verb->add_flag("--dry-run", options->dry_run, "Show the plan and stop");
  verb->add_flag("--overwrite", options->overwrite, "Replace an existing output folder");
  options->calibration.declare(*verb);
  add_text(*verb, "--histograms", options->histograms, "FILE",
           "Write histograms of what enters each projection, to a .npz file");
  add_text(*verb, "--histogram-plots", options->plots, "FOLDER",
           "Draw them, with an overview, where there is gnuplot");
  add_shard_size(*verb, options->shard_mib);
  add_device(*verb, options->device, "weights are rounded");
  add_threads(*verb);
  add_json(*verb, options->json);
  verb->footer(recipe_list());
  verb->callback([options, out, dry] {
    if (out->count() == 0 && dry->count() == 0) {
      raise(ErrorKind::kInvalidArgument, "quantize needs --out FOLDER (or --dry-run)");
    }
    run(*options);
  });
}

}  // namespace aquatint::cli
