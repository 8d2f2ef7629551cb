#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "base/process.h"
#include "cli/calibration_run.h"
#include "cli/common.h"
#include "cli/eval_options.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "formats/atomic_file.h"
#include "report/sensitivity_report.h"
#include "runtime/model_text.h"

namespace aquatint::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDefaultTokens = 4096;
constexpr const char* kConverter = "rsvg-convert";  // of SVG to PNG

struct Options {
  std::string model, recipe, text, by = "role", json, plot;
  bool leave_out = false, simulate = false;
  EvalOptions eval;
  CalibrationOptionSet calibration;
};

// Whether the picture can be made, before the work.
void check_plot(const std::string& path) {
  if (path.empty()) return;
  const std::string ending = fs::path(path).extension().string();
  if (ending != ".svg" && ending != ".png") {
    raise(ErrorKind::kInvalidArgument, "--plot '{}': the name must end in .svg or .png",
          printable(path));
  }
  check_output(path);
  if (ending == ".png" && find_program(kConverter).empty()) {
    raise(ErrorKind::kUnsupported,
          "--plot '{}': PNG needs the program {} (Debian: librsvg2-bin); .svg needs nothing",
          printable(path), kConverter);
  }
}

void write_plot(const std::string& path, const std::string& svg) {
  if (fs::path(path).extension() == ".svg") {
    write_text_file(path, svg);
    return;
  }
  struct Temporary {
    fs::path path;
    ~Temporary() {
      std::error_code ignored;
      fs::remove(path, ignored);
    }
  };
  const std::string process = std::to_string(::getpid());
  const Temporary source{path + "." + process + ".svg"}, picture{path + "." + process + ".png"};
  write_text_file(source.path, svg);
  run_process(find_program(kConverter),
              {"--zoom", "2", "--output", picture.path.string(), source.path.string()});
  rename_durably(picture.path, path);
}

void run(const Options& options) {
  check_output(options.json);
  check_plot(options.plot);
  const Recipe recipe = Recipe::load(options.recipe);
  const fs::path folder = model_folder(options.model);
  const Checkpoint checkpoint = Checkpoint::open(folder);
  Plan plan = make_plan(checkpoint, recipe);
  const bool shown = options.json != "-";
  const CalibrationRun calibration{folder, {}, {}, {}, shown};
  check_calibration(calibration, recipe, plan, options.calibration);
  const TextData text = read_text(options.text);
  const Tokenizer tokenizer = open_tokenizer(folder);
  const Calibrated calibrated =
      calibrate(calibration, checkpoint, recipe, plan, options.calibration);

  SensitivityOptions how;
  how.by = *sensitivity_by_from_name(options.by);
  how.leave_out = options.leave_out;
  how.text = options.eval.resolve();
  how.sweep.execution = options.simulate ? Execution::kSimulated : Execution::kInteger;
  const SensitivityResult result =
      measure_sensitivity(checkpoint, *calibrated.weights, plan, tokenizer, text, how);

  if (!options.plot.empty()) {
    const std::string name = fs::path(options.model).filename().string();
    const std::string title = fmt::format("{} with {}, by {}", name.empty() ? options.model : name,
                                          recipe.name, options.by);
    write_plot(options.plot, bar_chart_svg(sensitivity_chart(result, title)));
  }
  if (!options.json.empty()) {
    nlohmann::json out = to_json(result);
    out["model"] = options.model;
    out["recipe"] = recipe.name;
    out["by"] = options.by;
    out["execution"] = options.simulate ? "simulated" : "integer";
    write_json(options.json, out);
    if (options.json == "-") return;
  }
  print(fmt::format("{} with recipe {}, by {}\n\n", options.model, printable(recipe.name),
                    options.by) +
        sensitivity_text(result));
}

}  // namespace

void add_sensitivity(CLI::App& program) {
  auto options = std::make_shared<Options>();
  options->eval.perplexity.max_tokens = kDefaultTokens;
  CLI::App* verb = program.add_subcommand(
      "sensitivity", "Rank the parts of a model by what quantizing each alone costs and saves");
  add_model(*verb, options->model);
  add_recipe(*verb, options->recipe);
  add_text(*verb, "--text", options->text, "FILE",
           "Text file to measure on, or .jsonl with a page or text per line")
      ->required();
  add_choice(*verb, "--by", options->by, sensitivity_by_names(), "What is quantized at a time");
  verb->add_flag("--leave-out", options->leave_out,
                 "Measure also everything but each part, which takes twice the time");
  add_text(*verb, "--plot", options->plot, "FILE",
           "Draw the result into FILE, .svg, or .png where there is rsvg-convert");
  options->eval.declare_text(*verb);
  options->calibration.declare(*verb);
  verb->add_flag("--simulate", options->simulate,
                 "Run quantized weights in float arithmetic on the same grid, not in the integer "
                 "kernels");
  add_threads(*verb);
  add_json(*verb, options->json);
  verb->footer(
      "Examples:\n"
      "  aquatint sensitivity models/mamba --recipe w8a8-dynamic --text book.txt\n"
      "  aquatint sensitivity models/mamba --recipe w4a16 --text book.txt --by block --plot a.svg");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
