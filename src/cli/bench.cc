#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "report/bench_report.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string model, json;
  BenchOptions bench;
  ModelOptions loading;
  bool ceilings = false;
};

void run(const Options& options) {
  BenchSetting setting{options.model, options.loading.dtype, options.bench, 0};
  Model model = Model::load(Checkpoint::open(options.model), options.loading.load_options());
  const BenchResult result = run_bench(model, options.bench);
  setting.peak_memory_bytes = peak_resident_bytes();  // before the ceilings take memory of their own
  std::optional<Ceilings> ceilings;
  if (options.ceilings) ceilings = measure_ceilings();
  if (!options.json.empty()) write_json(options.json, bench_json(setting, result, ceilings));
  if (options.json != "-") print(bench_text(setting, result, ceilings));
}

}  // namespace

void add_bench(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "bench", "Measure prefill and decode rates (medians over runs) and peak memory");
  verb->add_option("model", options->model, "Model folder")->required();
  verb->add_option("--prompt-tokens", options->bench.prompt_tokens, "Tokens of the prefill")
      ->capture_default_str();
  verb->add_option("--generated-tokens", options->bench.generated_tokens, "Tokens of the decode")
      ->capture_default_str();
  verb->add_option("--batch", options->bench.batch, "Sequences run together")
      ->capture_default_str();
  verb->add_option("--repeats", options->bench.repeats, "Runs, after one to warm up")
      ->capture_default_str();
  verb->add_flag("--ceilings", options->ceilings,
                 "Measure memory bandwidth and library products too, and give shares of them");
  verb->add_option("--json", options->json, "Write the result as JSON to a file, or - for output");
  options->loading.declare(*verb);
  declare_threads(*verb);
  verb->footer("Example:\n  aquatint bench gla-w8a8 --prompt-tokens 2048 --ceilings");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
